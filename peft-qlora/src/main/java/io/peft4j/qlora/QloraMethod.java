package io.peft4j.qlora;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.Preparation;
import java.nio.file.Path;
import java.util.Set;

/**
 * QLoRA (Dettmers et al. 2023) as a method: quantizes the base, then leaves the rest to LoRA. Found
 * by {@link java.util.ServiceLoader}.
 */
public final class QloraMethod implements PeftMethod {
  static final String NAME = "QLORA";

  /** Made by the service loader. */
  public QloraMethod() {}

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public Class<? extends PeftConfig> configType() {
    return QloraConfig.class;
  }

  @Override
  public PeftConfig readConfig(ObjectNode json) {
    return QloraSettings.read(json);
  }

  @Override
  public Set<String> settings() {
    return QloraSettings.all();
  }

  @Override
  public Set<String> baseSettings() {
    return QloraSettings.quantization();
  }

  @Override
  public PeftConfig readSettings(ObjectNode settings) {
    return QloraSettings.config(settings);
  }

  /** What is saved is LoRA's. */
  @Override
  public boolean recognises(Path directory) {
    return false;
  }

  @Override
  public Preparation prepare(Backbone base, PeftConfig config) {
    QloraConfig own = (QloraConfig) config;
    ErrorFactors factors = new ErrorFactors(own, base.layout());
    try {
      if (own.initialization().fitsError()) {
        refuseQuantized(base, own.initialization());
        Qlora.quantize(base, own.quantization(), factors);
      } else {
        Qlora.quantize(base, own.quantization());
      }
      return new Preparation(own.lora(), factors.tensors());
    } catch (RuntimeException | Error e) {
      factors.close();
      throw e;
    }
  }

  private static void refuseQuantized(Backbone base, QloraInitialization initialization) {
    try (WeightSnapshot lease = base.weights().lease()) {
      if (Qlora.isQuantized(lease, base.layout())) {
        throw new InvalidConfigException(
            "init_lora_weights "
                + initialization.key()
                + " begins with what quantization has lost, which a base that is in 4 bits already"
                + " does not tell: give the dense base");
      }
    }
  }

  /** Never comes to it: {@link #prepare} gives the base to LoRA. */
  @Override
  public void attach(AttachContext context, AdapterBuilder adapter) {
    throw new InvalidConfigException(
        "over a base in 4 bits adapters are LoRA's: attach the lora() of this configuration");
  }
}
