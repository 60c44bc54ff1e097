package io.peft4j.cli;

import io.peft4j.onnx.OnnxExporter;
import io.peft4j.onnx.OrtPeftModel;
import io.peft4j.onnx.OrtView;
import java.nio.file.Files;
import java.nio.file.Path;

/** A base that was exported to ONNX, open, with the adapter that acts on it. Closed by its user. */
final class ExportedModel implements AutoCloseable {
  private final OrtPeftModel model;
  private final OrtView view;

  private ExportedModel(OrtPeftModel model, OrtView view) {
    this.model = model;
    this.view = view;
  }

  /** Whether a base is one: a file that ends in .onnx, or a directory with a graph. */
  static boolean isOne(Path base) {
    return base.toString().endsWith(".onnx")
        || Files.isRegularFile(base.resolve(OnnxExporter.MODEL));
  }

  static ExportedModel open(Path base, AdapterOptions adapters) {
    AdapterOptions.Named adapter = adapters.file();
    OrtPeftModel model = OrtPeftModel.open(base);
    try {
      if (adapter != null) {
        model.loadAdapter(adapter.name(), adapter.directory());
      }
      return new ExportedModel(
          model, adapter == null ? model.base() : model.withAdapter(adapter.name()));
    } catch (RuntimeException | Error e) {
      model.close();
      throw e;
    }
  }

  OrtPeftModel model() {
    return model;
  }

  OrtView view() {
    return view;
  }

  @Override
  public void close() {
    model.close();
  }
}
