package io.peft4j.models.bert;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.Linear;
import io.peft4j.nn.Pass;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Ops;

/**
 * The heads with an output for each token, which BERT and RoBERTa have in common: {@code
 * classifier} gives {@code logits} [batch, length, labels]; {@code qa_outputs} gives {@code
 * start_logits} and {@code end_logits}, each [batch, length]. Holds no arrays.
 */
public final class TokenHead {
  private static final String CLASSIFIER = "classifier";
  private static final String ANSWERS = "qa_outputs";

  private final BertConfig config;
  private final boolean answers;
  private final Linear linear;

  /**
   * The head of a model.
   *
   * @param layout the model's layout
   * @param task a task with an output for each token
   * @param config the model's configuration
   */
  public TokenHead(ModelLayout layout, BertTask task, BertConfig config) {
    this.config = config;
    answers = task == BertTask.QUESTION_ANSWERING;
    linear = new Linear(layout, answers ? ANSWERS : CLASSIFIER);
  }

  /**
   * Adds the head to a layout.
   *
   * @param layout the layout
   * @param task a task with an output for each token
   * @param config the model's configuration
   */
  public static void describe(ModelLayout.Builder layout, BertTask task, BertConfig config) {
    String path = task == BertTask.QUESTION_ANSWERING ? ANSWERS : CLASSIFIER;
    layout.linear(path, config.hidden(), config.labels(), true);
    layout.head(path);
  }

  /**
   * Computes the outputs.
   *
   * @param pass weights and adapters
   * @param hidden float32 [batch, length, hidden]
   * @return the named outputs
   */
  public NDList forward(Pass pass, NDArray hidden) {
    if (answers) {
      NDArray both = linear.forward(pass, hidden);
      return new NDList(
          named(both.get(":, :, 0"), "start_logits"), named(both.get(":, :, 1"), "end_logits"));
    }
    NDArray dropped = Ops.dropout(hidden, config.classifierDropout(), pass.dropout());
    return new NDList(named(linear.forward(pass, dropped), "logits"));
  }

  /**
   * Says what {@link #forward} computes.
   *
   * @param graph takes it down
   * @param hidden [batch, length, hidden]
   */
  public void describe(ModelGraph graph, GraphValue hidden) {
    if (answers) {
      GraphValue both = graph.linear(ANSWERS, hidden);
      graph.output("start_logits", graph.feature(both, 0));
      graph.output("end_logits", graph.feature(both, 1));
    } else {
      graph.output("logits", graph.linear(CLASSIFIER, hidden));
    }
  }

  private static NDArray named(NDArray array, String name) {
    array.setName(name);
    return array;
  }

  /**
   * The shapes of the outputs.
   *
   * @param batch number of rows
   * @param length tokens in a row
   * @return a shape for each output
   */
  public Shape[] outputShapes(long batch, long length) {
    Shape one = new Shape(batch, length);
    return answers ? new Shape[] {one, one} : new Shape[] {one.add(config.labels())};
  }
}
