package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import org.junit.jupiter.api.Test;

/** The spellings of PEFT, TRL and LLaMA-Factory say the same. */
final class LoraSettingsTest {

  private static LoraConfig read(String json) {
    try {
      ObjectNode settings = (ObjectNode) new ObjectMapper().readTree(json.replace('\'', '"'));
      settings.fieldNames().forEachRemaining(n -> assertTrue(LoraSettings.all().contains(n), n));
      return (LoraConfig) new LoraMethod().readSettings(settings);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(e);
    }
  }

  @Test
  void spellings() {
    LoraConfig peft = read("{'r': 4, 'lora_alpha': 8, 'target_modules': ['q_proj', 'v_proj']}");
    assertEquals(4, peft.rank());
    assertEquals(
        peft.toJson(),
        read("{'lora_r': 4, 'lora_alpha': 8, 'lora_target_modules': ['q_proj', 'v_proj']}")
            .toJson());
    assertEquals(peft.toJson(), read("{'lora_rank': 4, 'lora_target': 'q_proj, v_proj'}").toJson());
  }

  @Test
  void allMeansAllLinear() {
    assertEquals(
        read("{'target_modules': 'all-linear', 'r': 8, 'lora_alpha': 3}").toJson(),
        read("{'lora_target': 'all', 'lora_rank': 8, 'lora_alpha': 3}").toJson());
  }

  @Test
  void sayingTheSameTwiceIsRefused() {
    String message =
        assertThrows(InvalidConfigException.class, () -> read("{'r': 4, 'lora_rank': 4}"))
            .getMessage();
    assertTrue(message.contains("r and lora_rank say the same"), message);
  }
}
