package io.peft4j.adapter;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.spi.PeftMethods;
import io.peft4j.state.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class AdapterConfigTest {
  @ParameterizedTest
  @ValueSource(strings = {"seq_bn", "houlsby", "par_bn", "scaled_par_bn", "adapter_plus"})
  void aPresetComesBackFromItsKeys(String preset) {
    AdapterConfig config = AdapterConfig.preset(preset).name("mine").leaveOut(2, 1).build();
    AdapterConfig again = AdapterConfig.fromJson(config.toJson());
    assertEquals(config.toJson(), again.toJson());
    assertEquals(config.leaveOut(), again.leaveOut());
  }

  @Test
  void layersHaveTheirFactors() {
    AdapterConfig config = AdapterConfig.seqBn().reductionFactors(Map.of(3, 0.5), 8).build();
    assertEquals(Optional.of(0.5), config.reductionFactor(3));
    assertEquals(Optional.of(8.0), config.reductionFactor(0));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "reduction_factor; 0",
        "reduction_factor; {\"one\": 2}",
        "reduction_factor; \"16\"",
        "non_linearity; \"cube\"",
        "residual_before_ln; \"after\"",
        "scaling; \"wide\"",
        "dropout; 1",
        "leave_out; [-1]",
        "init_weights; \"zeros\"",
        "phm_layer; true",
        "inv_adapter; \"nice\"",
        "use_gating; 1",
        "surplus; 5"
      })
  void aWrongValueIsNamed(String key, String value) {
    ObjectNode json = AdapterConfig.doubleSeqBn().build().toJson();
    ((ObjectNode) json.get("config")).set(key, Json.parse(value, "test"));
    InvalidConfigException error =
        assertThrows(InvalidConfigException.class, () -> AdapterConfig.fromJson(json));
    assertTrue(String.valueOf(error.getMessage()).contains(key), error.getMessage());
  }

  @Test
  void aPickleIsRefused(@TempDir Path directory) throws IOException {
    ObjectNode json = AdapterConfig.seqBn().build().toJson();
    Files.writeString(directory.resolve("adapter_config.json"), json.toString());
    Files.write(directory.resolve("pytorch_adapter.bin"), new byte[] {80, 75});
    assertEquals("BOTTLENECK", PeftMethods.of(directory).name());
    PeftException error =
        assertThrows(MalformedFileException.class, () -> PeftMethods.of(directory).read(directory));
    assertTrue(String.valueOf(error.getMessage()).contains("pickle"), error.getMessage());
  }

  @Test
  void aConfigurationThatIsNoObjectIsRefused() {
    ObjectNode json = AdapterConfig.seqBn().build().toJson().put("config", 5);
    assertThrows(InvalidConfigException.class, () -> AdapterConfig.fromJson(json));
  }
}
