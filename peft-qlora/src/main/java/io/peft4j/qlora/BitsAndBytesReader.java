package io.peft4j.qlora;

import static io.peft4j.qlora.BitsAndBytesFormat.ABSMAX;
import static io.peft4j.qlora.BitsAndBytesFormat.MAP;
import static io.peft4j.qlora.BitsAndBytesFormat.NESTED_ABSMAX;
import static io.peft4j.qlora.BitsAndBytesFormat.NESTED_MAP;
import static io.peft4j.qlora.BitsAndBytesFormat.STATE;

import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import io.peft4j.qlora.block.NestedScales;
import io.peft4j.qlora.block.PackedBlocks;
import io.peft4j.qlora.block.PlainScales;
import io.peft4j.qlora.block.QuantType;
import io.peft4j.qlora.block.Scales;
import io.peft4j.state.DynamicMap;
import io.peft4j.state.Json;
import io.peft4j.state.TensorInfo;
import io.peft4j.state.TensorStore;
import io.peft4j.state.TensorType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * Puts the pieces of 4-bit weights together, as {@link BitsAndBytesFormat} describes them. Whatever
 * does not fit is refused before anything is loaded; codes stay in the mapped file.
 */
final class BitsAndBytesReader {
  /** The most bytes of a state that is read. */
  private static final int LONGEST_STATE = 1 << 16;

  private static final int MOST_DIMENSIONS = 8;

  /** How far a code book in a file may be from ours: earlier versions rounded otherwise. */
  private static final float TOLERANCE = 1e-6f;

  private static final Set<String> STATE_KEYS =
      Set.of(
          "quant_type",
          "blocksize",
          "dtype",
          "shape",
          "nested_blocksize",
          "nested_dtype",
          "nested_offset");

  private static final List<String> PIECES =
      List.of(NESTED_ABSMAX, NESTED_MAP, ABSMAX, MAP, ".quant_state");

  private final TensorStore tensors;
  private final String origin;
  private final String name;

  private BitsAndBytesReader(TensorStore tensors, String origin, String name) {
    this.tensors = tensors;
    this.origin = origin;
    this.name = name;
  }

  /**
   * Reads all 4-bit weights.
   *
   * @return parameter name to weight; empty if all tensors are plain
   */
  static Map<String, QuantizedTensor> read(TensorStore tensors, String origin) {
    Map<String, Set<String>> pieces = new LinkedHashMap<>();
    for (String name : tensors.names()) {
      String owner = owner(name);
      if (owner != null) {
        pieces.computeIfAbsent(owner, key -> new TreeSet<>()).add(name.substring(owner.length()));
      }
    }
    Map<String, QuantizedTensor> weights = new LinkedHashMap<>();
    pieces.forEach(
        (name, parts) ->
            weights.put(name, new BitsAndBytesReader(tensors, origin, name).weight(parts)));
    return weights;
  }

  /** The parameter that a tensor is a piece of; null if it is none. */
  static @Nullable String owner(String tensor) {
    int state = tensor.indexOf(".quant_state");
    if (state >= 0) {
      return tensor.substring(0, state);
    }
    for (String piece : PIECES) {
      if (tensor.endsWith(piece)) {
        return tensor.substring(0, tensor.length() - piece.length());
      }
    }
    return null;
  }

  private MalformedFileException wrong(String what) {
    return new MalformedFileException(origin + ": the 4-bit weight '" + name + "' " + what);
  }

  private QuantizedTensor weight(Set<String> parts) {
    List<String> states = parts.stream().filter(part -> part.startsWith(".quant_state")).toList();
    if (states.size() != 1) {
      throw wrong(
          states.isEmpty()
              ? "has " + parts + " but no '" + STATE + "nf4' or '" + STATE + "fp4'"
              : "has " + states.size() + " states, " + states);
    }
    String state = states.get(0);
    if (!state.equals(STATE + "nf4") && !state.equals(STATE + "fp4")) {
      throw wrong("is of an unknown type, '" + state + "'; known are nf4 and fp4");
    }
    QuantType type = QuantType.named(state.substring(STATE.length()));
    ObjectNode json = state(state);
    if (!type.key().equals(json.path("quant_type").textValue())) {
      throw wrong("is " + type.key() + " by name, but its state says " + json.get("quant_type"));
    }
    boolean nested = parts.contains(NESTED_ABSMAX) || parts.contains(NESTED_MAP);
    check(parts, state, nested || json.has("nested_offset"));
    Shape shape = shape(json);
    int blockSize = number(json, "blocksize");
    if (!PackedBlocks.BLOCK_SIZES.contains(blockSize)) {
      throw wrong(
          "has blocks of "
              + blockSize
              + "; allowed are "
              + new TreeSet<>(PackedBlocks.BLOCK_SIZES));
    }
    checkBook(type);
    int blocks = PackedBlocks.blocks(shape.size(), blockSize);
    Scales scales =
        nested ? nested(json, blocks) : new PlainScales(piece(ABSMAX, TensorType.F32, blocks));
    return QuantizedTensor.mapped(
        shape, type(json), new PackedBlocks(type, blockSize, shape.size(), packed(shape), scales));
  }

  /** All pieces must be there and no others. */
  private void check(Set<String> parts, String state, boolean nested) {
    Set<String> needed = new TreeSet<>(Set.of(ABSMAX, MAP, state));
    if (nested) {
      needed.addAll(Set.of(NESTED_ABSMAX, NESTED_MAP));
    }
    Set<String> missing = new TreeSet<>(needed);
    missing.removeAll(parts);
    if (!tensors.contains(name)) {
      missing.add("the codes themselves");
    }
    if (!missing.isEmpty()) {
      throw wrong("lacks " + String.join(", ", missing));
    }
    Set<String> surplus = new TreeSet<>(parts);
    surplus.removeAll(needed);
    if (!surplus.isEmpty()) {
      throw wrong("has too many pieces: " + String.join(", ", surplus));
    }
  }

  private ObjectNode state(String part) {
    TensorInfo info = tensors.info(name + part);
    if (info.type() != TensorType.U8 || info.bytes() > LONGEST_STATE) {
      throw wrong(
          "has a state of type "
              + info.type()
              + " and "
              + info.bytes()
              + " bytes; U8 and at most "
              + LONGEST_STATE
              + " are allowed");
    }
    byte[] bytes = new byte[(int) info.bytes()];
    tensors.buffer(name + part).get(bytes);
    String text = new String(bytes, StandardCharsets.UTF_8);
    if (!(Json.parse(text, origin + ": " + name + part) instanceof ObjectNode json)) {
      throw wrong("has a state that is no JSON object");
    }
    json.fieldNames()
        .forEachRemaining(
            key -> {
              if (!STATE_KEYS.contains(key)) {
                throw wrong("has an unknown key in its state, '" + key + "'");
              }
            });
    return json;
  }

  private Shape shape(ObjectNode json) {
    JsonNode sizes = json.path("shape");
    long count = sizes.isArray() && sizes.size() <= MOST_DIMENSIONS ? 1 : 0;
    long[] dimensions = new long[sizes.size()];
    for (int i = 0; count > 0 && i < dimensions.length; i++) {
      dimensions[i] = sizes.get(i).isIntegralNumber() ? sizes.get(i).asLong(0) : 0;
      boolean fits = dimensions[i] > 0 && dimensions[i] <= PackedBlocks.MOST / count;
      count = fits ? count * dimensions[i] : 0;
    }
    if (count <= 0) {
      throw wrong(
          "has the shape "
              + json.get("shape")
              + "; a list of numbers above 0 is needed whose product is at most "
              + PackedBlocks.MOST);
    }
    return new Shape(dimensions);
  }

  private int number(ObjectNode json, String key) {
    JsonNode value = json.path(key);
    if (!value.isIntegralNumber() || !value.canConvertToInt()) {
      throw wrong("needs a whole number as '" + key + "'; given is " + json.get(key));
    }
    return value.intValue();
  }

  private TensorType type(ObjectNode json) {
    return switch (json.path("dtype").asText("")) {
      case "float32" -> TensorType.F32;
      case "bfloat16" -> TensorType.BF16;
      case "float16" -> TensorType.F16;
      default ->
          throw wrong(
              "was made of " + json.get("dtype") + "; allowed are float32, bfloat16 and float16");
    };
  }

  private ByteBuffer packed(Shape shape) {
    TensorInfo info = tensors.info(name);
    long bytes = (shape.size() + 1) / 2;
    boolean allowed =
        switch (info.type()) {
          case U8, I8, F16, BF16, F32, F64 -> true;
          default -> false;
        };
    if (!allowed || info.bytes() != bytes) {
      throw wrong(
          "has codes of type "
              + info.type()
              + " and "
              + info.bytes()
              + " bytes; for the shape "
              + shape
              + " they must be "
              + bytes);
    }
    return tensors.buffer(name);
  }

  private ByteBuffer piece(String part, TensorType type, int count) {
    TensorInfo info = tensors.info(name + part);
    if (info.type() != type || info.elements() != count) {
      throw wrong(
          "has "
              + info.elements()
              + " values of type "
              + info.type()
              + " as '"
              + part
              + "'; "
              + count
              + " of "
              + type
              + " are needed");
    }
    return tensors.buffer(name + part);
  }

  private float[] floats(String part, int count) {
    float[] values = new float[count];
    piece(part, TensorType.F32, count).asFloatBuffer().get(values);
    return values;
  }

  private void checkBook(QuantType type) {
    float[] book = floats(MAP, type.codes().length);
    for (int i = 0; i < book.length; i++) {
      if (!(Math.abs(book[i] - type.codes()[i]) <= TOLERANCE)) {
        throw wrong(
            "has a code book other than that of " + type.key() + ": " + Arrays.toString(book));
      }
    }
  }

  private Scales nested(ObjectNode json, int blocks) {
    if (number(json, "nested_blocksize") != NestedScales.BLOCK
        || !"float32".equals(json.path("nested_dtype").textValue())
        || !json.path("nested_offset").isNumber()) {
      throw wrong(
          "needs nested_blocksize "
              + NestedScales.BLOCK
              + ", nested_dtype \"float32\" and a number as nested_offset; its state is "
              + shown(json));
    }
    float[] map = floats(NESTED_MAP, DynamicMap.SIGNED.values().length);
    float[] usual = DynamicMap.SIGNED.values();
    return new NestedScales(
        piece(ABSMAX, TensorType.U8, blocks),
        floats(NESTED_ABSMAX, PackedBlocks.blocks(blocks, NestedScales.BLOCK)),
        Arrays.equals(map, usual) ? usual : map,
        (float) json.get("nested_offset").doubleValue());
  }

  private static String shown(ObjectNode json) {
    return json.properties().stream()
        .map(entry -> entry.getKey() + ": " + entry.getValue())
        .collect(Collectors.joining(", "));
  }
}
