package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.index.NDIndex;
import io.peft4j.nn.Pass.Segment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The end of a sub-layer, where its output h meets the residual x: norm(h + x) in models that
 * normalise after (BERT), h + x in models that normalise before (Llama). Every family joins its
 * sub-layers here and nowhere else. Holds no arrays.
 */
public final class Join {
  private final String path;
  private final @Nullable LayerNorm norm;

  /**
   * A join of a model.
   *
   * @param path the module in which Hugging Face's code adds the residual, for example {@code
   *     encoder.layer.0.output}
   * @param norm what the model applies to the sum, or null for nothing
   */
  public Join(String path, @Nullable LayerNorm norm) {
    this.path = path;
    this.norm = norm;
  }

  /**
   * The place in the model.
   *
   * @return dotted path
   */
  public String path() {
    return path;
  }

  /**
   * Joins.
   *
   * @param pass weights and adapters
   * @param h the sub-layer's output, float32 [batch, ..., hidden]
   * @param x the residual, of the same shape
   * @return a new array of the same shape
   */
  public NDArray forward(Pass pass, NDArray h, NDArray x) {
    List<Segment> segments = pass.segments();
    if (isPlain(pass)) {
      NDArray sum = h.add(x);
      return norm == null ? sum : norm.forward(pass, sum);
    }
    if (segments.size() == 1) {
      return forward(pass, segments.get(0), h, x);
    }
    NDList parts = new NDList(segments.size());
    for (Segment segment : segments) {
      NDIndex rows = new NDIndex().addSliceDim(segment.begin(), segment.end());
      parts.add(forward(pass, segment, h.get(rows), x.get(rows)));
    }
    return NDArrays.concat(parts);
  }

  /** Adapters act one after the other; the last one ends the join. */
  private NDArray forward(Pass pass, Segment segment, NDArray h, NDArray x) {
    JoinAdapter last = null;
    JoinCall call = new JoinCall(h, x, sum -> normalise(pass, segment, sum), 1, pass.dropout());
    for (int i = 0; i < segment.adapters().size(); i++) {
      JoinAdapter adapter = segment.adapters().get(i).join(path);
      if (adapter != null) {
        call = call.with(adapter.act(call.with(segment.strengths()[i])));
        last = adapter;
      }
    }
    return last == null ? normalise(pass, segment, h.add(x)) : last.finish(call);
  }

  /**
   * Tells whether the model's own join is all that happens here, so that a fused form may be used.
   *
   * @param pass weights and adapters
   * @return false if an adapter of any segment acts here
   */
  public boolean isPlain(Pass pass) {
    return pass.segments().stream().noneMatch(segment -> segment.joins(path));
  }

  /** Of the rows of one segment alone, which may have a norm of its own. */
  private NDArray normalise(Pass pass, Segment segment, NDArray sum) {
    return norm == null ? sum : norm.forward(pass, segment, sum);
  }
}
