package io.peft4j.onnx;

import ai.onnxruntime.OrtLoraAdapter;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A graph and an adapter in use, for one or several runs. */
final class OrtRun implements AutoCloseable {
  private final Leased<OrtPeftModel.Opened> lease;
  private final GraphSession session;
  private final OrtAdapters.@Nullable Use use;
  private boolean closed;

  OrtRun(Leased<OrtPeftModel.Opened> lease, OrtAdapters adapters, @Nullable String adapter) {
    this.lease = lease;
    session = lease.acquire().session();
    try {
      use = adapter == null ? null : adapters.use(adapter);
    } catch (RuntimeException e) {
      lease.release();
      throw e;
    }
  }

  GraphSession session() {
    return session;
  }

  List<OrtLoraAdapter> adapters() {
    return use == null ? List.of() : use.adapters();
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      if (use != null) {
        use.close();
      }
      lease.release();
    }
  }
}
