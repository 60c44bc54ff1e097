package io.peft4j.models.gguf;

import ai.djl.ndarray.types.Shape;
import io.peft4j.PeftException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.stream.LongStream;

/** How a tensor of a GGUF file becomes the parameter that Hugging Face has. */
public sealed interface Arrangement {
  /** As it lies in the file. */
  Arrangement AS_STORED = new AsStored();

  /** A norm's weight that the file has as 1 + weight. */
  Arrangement MINUS_ONE = new MinusOne();

  /** A matrix that Hugging Face has the other way round: GPT-2's {@code Conv1D}, [in, out]. */
  Arrangement TRANSPOSED = new Transposed();

  /**
   * The parameter's shape.
   *
   * @param stored the tensor's shape in the file
   * @return the shape at Hugging Face
   */
  default Shape shape(Shape stored) {
    return stored;
  }

  /**
   * Whether the parameter's rows are the file's rows, perhaps in another order, so that they can be
   * used packed.
   *
   * @return false if values change or rows become columns
   */
  boolean keepsRows();

  /**
   * Where a row of the parameter is in the file.
   *
   * @param row a row of the parameter, from 0; of a vector, an element
   * @param rows how many there are
   * @return the row in the file; meaningless if {@link #keepsRows()} is false
   */
  default long storedRow(long row, long rows) {
    return row;
  }

  /**
   * The other direction: a parameter's values as they lie in a file.
   *
   * @param values the values, row by row
   * @param shape the parameter's shape
   * @return the values in the file's order
   */
  default float[] stored(float[] values, Shape shape) {
    return values;
  }

  /** Puts some of the parameter's values into memory in native byte order. */
  void fill(Dequantizer source, ByteBuffer destination, long first, int elements);

  private static FloatBuffer floats(ByteBuffer destination) {
    return destination.slice().order(ByteOrder.nativeOrder()).asFloatBuffer();
  }

  /** As it lies in the file. */
  record AsStored() implements Arrangement {
    @Override
    public boolean keepsRows() {
      return true;
    }

    @Override
    public void fill(Dequantizer source, ByteBuffer destination, long first, int elements) {
      source.all(first, elements, floats(destination));
    }
  }

  /** 1 + weight becomes weight. */
  record MinusOne() implements Arrangement {
    @Override
    public boolean keepsRows() {
      return false;
    }

    @Override
    public float[] stored(float[] values, Shape shape) {
      float[] stored = values.clone();
      for (int i = 0; i < stored.length; i++) {
        stored[i] += 1;
      }
      return stored;
    }

    @Override
    public void fill(Dequantizer source, ByteBuffer destination, long first, int elements) {
      FloatBuffer values = floats(destination);
      source.all(first, elements, values);
      for (int i = 0; i < elements; i++) {
        values.put(i, values.get(i) - 1);
      }
    }
  }

  /**
   * Rows of queries or keys that llama.cpp has reordered for its rotary embedding. It turns
   * neighbouring rows of a head, 2i and 2i + 1, where Hugging Face turns rows i and h/2 + i of a
   * head of h rows.
   *
   * @param heads the number of heads, a divisor of half the rows
   */
  record Rotary(long heads) implements Arrangement {
    @Override
    public boolean keepsRows() {
      return true;
    }

    @Override
    public long storedRow(long row, long rows) {
      long size = rows / heads;
      long inHead = row % size;
      long half = size / 2;
      return row - inHead + 2 * (inHead % half) + inHead / half;
    }

    @Override
    public float[] stored(float[] values, Shape shape) {
      int rows = Math.toIntExact(shape.get(0));
      int width = values.length / rows;
      float[] stored = new float[values.length];
      for (int row = 0; row < rows; row++) {
        System.arraycopy(values, row * width, stored, (int) storedRow(row, rows) * width, width);
      }
      return stored;
    }

    @Override
    public void fill(Dequantizer source, ByteBuffer destination, long first, int elements) {
      GgufTensor tensor = source.tensor();
      boolean vector = tensor.shape().dimension() == 1;
      int width = vector ? 1 : Math.toIntExact(tensor.rowLength());
      if (vector && tensor.type().blockSize() > 1 || first % width != 0 || elements % width != 0) {
        // No model has such rows: a bias is never packed, and 2^28 elements hold many rows.
        throw new PeftException("tensor '" + tensor.name() + "' cannot be reordered by rows");
      }
      long rows = tensor.elements() / width;
      FloatBuffer values = floats(destination);
      LongStream.range(0, elements / width)
          .parallel()
          .forEach(
              row ->
                  source.some(
                      storedRow(first / width + row, rows) * width,
                      width,
                      values.slice((int) row * width, width)));
    }
  }

  /** Rows become columns. */
  record Transposed() implements Arrangement {
    @Override
    public Shape shape(Shape stored) {
      return new Shape(stored.get(1), stored.get(0));
    }

    @Override
    public boolean keepsRows() {
      return false;
    }

    @Override
    public float[] stored(float[] values, Shape shape) {
      int rows = Math.toIntExact(shape.get(0));
      int columns = Math.toIntExact(shape.get(1));
      float[] stored = new float[values.length];
      for (int row = 0; row < rows; row++) {
        for (int column = 0; column < columns; column++) {
          stored[column * rows + row] = values[row * columns + column];
        }
      }
      return stored;
    }

    @Override
    public void fill(Dequantizer source, ByteBuffer destination, long first, int elements) {
      GgufTensor tensor = source.tensor();
      if (elements != tensor.elements()) {
        throw new PeftException(
            "tensor '" + tensor.name() + "' is too large to be transposed: " + tensor.shape());
      }
      int width = (int) tensor.rowLength();
      int rows = elements / width;
      FloatBuffer values = floats(destination);
      LongStream.range(0, rows)
          .parallel()
          .forEach(
              row -> {
                FloatBuffer one = FloatBuffer.allocate(width);
                source.some(row * width, width, one);
                for (int i = 0; i < width; i++) {
                  values.put(i * rows + (int) row, one.get(i));
                }
              });
    }
  }
}
