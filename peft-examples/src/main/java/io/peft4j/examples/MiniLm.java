package io.peft4j.examples;

import io.peft4j.examples.wordnet.LabelledText;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import io.peft4j.models.onnx.BertOnnx;
import io.peft4j.models.onnx.OnnxWeights;
import io.peft4j.train.ClassificationBatches;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.List;

/** all-MiniLM-L6-v2 as it lies in langchain4j's jar: an ONNX file and a tokenizer. */
final class MiniLm {
  private static final String WEIGHTS = "all-minilm-l6-v2.onnx";
  private static final String TOKENIZER = "all-minilm-l6-v2-tokenizer.json";
  private static final int LONGEST = 32;

  private MiniLm() {}

  /** The encoder; the caller closes it. */
  static PretrainedModel encoder() {
    return load(LoadOptions.builder().headless().build());
  }

  /** The encoder with a new head over the mean of its token vectors; the caller closes it. */
  static PretrainedModel classifier(List<String> labels) {
    return load(LoadOptions.builder().classifier(labels).meanPooling().build());
  }

  private static PretrainedModel load(LoadOptions options) {
    ClassLoader loader = MiniLm.class.getClassLoader();
    return PretrainedModel.of(BertOnnx.of(OnnxWeights.resource(loader, WEIGHTS)), options);
  }

  /** Texts as token ids, each cut to what a gloss needs. */
  static ClassificationBatches tokenize(List<LabelledText> texts, int batchSize) {
    ClassificationBatches.Builder batches =
        ClassificationBatches.builder().batchSize(batchSize).seed(1);
    try (InputStream json = MiniLm.class.getClassLoader().getResourceAsStream(TOKENIZER);
        Tokenizer tokenizer = Tokenizer.load(json)) {
      List<long[]> ids = tokenizer.ids(texts.stream().map(LabelledText::text).toList(), LONGEST);
      for (int i = 0; i < texts.size(); i++) {
        batches.add(ids.get(i), texts.get(i).label());
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return batches.build();
  }
}
