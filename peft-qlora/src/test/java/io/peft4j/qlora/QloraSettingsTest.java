package io.peft4j.qlora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.qlora.block.QuantType;
import io.peft4j.state.Json;
import io.peft4j.state.TensorType;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What training configurations say about QLoRA. */
final class QloraSettingsTest {
  private static final QloraMethod METHOD = new QloraMethod();

  private static ObjectNode json(String text) {
    try {
      return (ObjectNode) Json.mapper().readTree(text.replace('\'', '"'));
    } catch (JsonProcessingException e) {
      throw new AssertionError(e);
    }
  }

  private static QloraConfig read(String text) {
    ObjectNode settings = json(text);
    settings
        .fieldNames()
        .forEachRemaining(name -> assertTrue(METHOD.settings().contains(name), name));
    return (QloraConfig) METHOD.readSettings(settings);
  }

  @Test
  void nothingSaidIsThePapersWay() {
    QloraConfig config = read("{}");
    assertEquals(QuantType.NF4, config.quantization().type());
    assertTrue(config.quantization().doubleQuantization());
    assertEquals(64, config.quantization().blockSize());
    assertEquals(QloraInitialization.LORA, config.initialization());
  }

  @Test
  void keysOfTransformersAndOfLlamaFactory() {
    QloraConfig first =
        read(
            "{'load_in_4bit': true, 'bnb_4bit_quant_type': 'fp4',"
                + " 'bnb_4bit_use_double_quant': false, 'bnb_4bit_compute_dtype': 'bfloat16',"
                + " 'bnb_4bit_blocksize': 128, 'llm_int8_skip_modules': ['lm_head'],"
                + " 'r': 4, 'init_lora_weights': 'gaussian'}");
    assertEquals(QuantType.FP4, first.quantization().type());
    assertFalse(first.quantization().doubleQuantization());
    assertEquals(TensorType.BF16, first.quantization().computeType());
    assertEquals(128, first.quantization().blockSize());
    assertEquals(Optional.of(List.of("lm_head")), first.quantization().skipModules());
    assertEquals(4, first.lora().rank());
    QloraConfig second =
        read(
            "{'quantization_bit': 4, 'quantization_type': 'nf4', 'double_quantization': false,"
                + " 'quantization_method': 'bnb', 'lora_rank': 8, 'init_lora_weights': 'loftq',"
                + " 'loftq_config': {'loftq_bits': 4, 'loftq_iter': 1}}");
    assertFalse(second.quantization().doubleQuantization());
    assertEquals(16, second.lora().alpha());
    assertEquals(QloraInitialization.LOFTQ, second.initialization());
    assertEquals(
        QloraInitialization.pissa(4),
        read("{'init_lora_weights': 'pissa_niter_4'}").initialization());
  }

  @Test
  void aConfigurationIsReadFromItsOwnKeys() {
    for (String text :
        List.of("{}", "{'init_lora_weights': 'pissa_niter_2', 'bnb_4bit_quant_type': 'fp4'}")) {
      QloraConfig config = read(text);
      assertEquals(config.toJson(), METHOD.readConfig(config.toJson()).toJson());
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{'load_in_8bit': true} | load_in_8bit must be false",
        "{'load_in_4bit': false} | load_in_4bit must be true",
        "{'quantization_bit': 8} | quantization_bit must be 4, was 8",
        "{'quantization_method': 'hqq'} | quantization_method must be bitsandbytes or bnb",
        "{'bnb_4bit_quant_type': 'int4'} | int4",
        "{'bnb_4bit_quant_type': 'nf4', 'quantization_type': 'nf4'} | say the same",
        "{'bnb_4bit_blocksize': 48} | 48",
        "{'bnb_4bit_use_double_quant': 'yes'} | bnb_4bit_use_double_quant must be true or false",
        "{'loftq_config': {'loftq_iter': 5}} | loftq_iter must be 1, was 5",
        "{'loftq_config': {'bits': 4}} | loftq_config takes",
        "{'init_lora_weights': 'eva'} | init_lora_weights is one of"
      })
  void whatCannotBeIsRefused(String text, String expected) {
    InvalidConfigException refused = assertThrows(InvalidConfigException.class, () -> read(text));
    assertTrue(refused.getMessage().contains(expected), refused.getMessage());
  }
}
