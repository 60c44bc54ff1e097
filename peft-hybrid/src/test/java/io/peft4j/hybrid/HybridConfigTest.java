package io.peft4j.hybrid;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.full.FullConfig;
import io.peft4j.ia3.Ia3Config;
import io.peft4j.lora.LoraConfig;
import io.peft4j.state.Json;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a hybrid may be. */
final class HybridConfigTest {
  private static final LoraConfig LORA = LoraConfig.builder().targetModules("query").build();
  private static final Ia3Config VECTORS = Ia3Config.builder().build();
  private static final HybridConfig BOTH =
      HybridConfig.builder().part("task", LORA).part("style", VECTORS).build();

  @Test
  void theJsonIsTheWhole() {
    assertEquals(List.of("task", "style"), List.copyOf(BOTH.parts().keySet()));
    HybridConfig again = HybridConfig.fromJson(BOTH.toJson());
    assertEquals(BOTH, again);
    assertEquals(BOTH.hashCode(), again.hashCode());
    assertEquals(List.of("task", "style"), List.copyOf(again.parts().keySet()));
    assertEquals(LORA.toJson(), again.part("task").toJson());
    assertEquals(BOTH, HybridConfig.fromJson((ObjectNode) Json.parse(BOTH.toString(), "the text")));
    assertTrue(
        String.valueOf(
                assertThrows(InvalidConfigException.class, () -> BOTH.part("none")).getMessage())
            .contains("[task, style]"));
  }

  @Test
  void theOrderOfPartsMatters() {
    HybridConfig other = HybridConfig.builder().part("style", VECTORS).part("task", LORA).build();
    assertTrue(!BOTH.equals(other));
    assertEquals(
        List.of("task", "style", "third"),
        List.copyOf(BOTH.toBuilder().part("third", LORA).build().parts().keySet()));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "..", "a/b", "a.b", "a b", "__base__", "a+b", "ä", "task", "TASK"})
  void namesThatCannotBe(String name) {
    HybridConfig.Builder builder = HybridConfig.builder().part("task", LORA);
    assertThrows(InvalidConfigException.class, () -> builder.part(name, VECTORS));
  }

  @Test
  void partsThatCannotBe() {
    HybridConfig.Builder builder = HybridConfig.builder();
    assertThrows(InvalidConfigException.class, builder::build);
    assertThrows(InvalidConfigException.class, () -> builder.part("inner", BOTH));
    assertThrows(
        InvalidConfigException.class, () -> builder.part("all", FullConfig.builder().build()));
    for (int i = 0; i <= HybridConfig.MAX_PARTS; i++) {
      builder.part("p" + i, LORA);
    }
    assertThrows(InvalidConfigException.class, builder::build);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{}",
        "{'peft_type':'LORA','format_version':1,'parts':[]}",
        "{'peft_type':'HYBRID','format_version':2,'parts':[]}",
        "{'peft_type':'HYBRID','format_version':1,'parts':[]}",
        "{'peft_type':'HYBRID','format_version':1,'parts':{}}",
        "{'peft_type':'HYBRID','format_version':1,'parts':[3]}",
        "{'peft_type':'HYBRID','format_version':1,'parts':[{'name':'a','peft_type':'LORA'}]}",
        "{'peft_type':'HYBRID','format_version':1,'parts':[{'name':'a','peft_type':'NONE','config':{}}]}",
        "{'peft_type':'HYBRID','format_version':1,'parts':[{'name':'a','peft_type':'HYBRID','config':{}}]}",
        "{'peft_type':'HYBRID','format_version':1,'parts':[{'name':'..','peft_type':'LORA','config':{}}]}",
        "{'peft_type':'HYBRID','format_version':1,'parts':[{'name':'a','peft_type':'LORA','config':{},'x':1}]}",
        "{'peft_type':'HYBRID','format_version':1,'other':1,'parts':[{'name':'a','peft_type':'LORA','config':{}}]}",
        "{'peft_type':'HYBRID','format_version':1,'parts':[{'name':'a','peft_type':'LORA','config':{}},{'name':'a','peft_type':'LORA','config':{}}]}",
      })
  void jsonThatCannotBe(String text) {
    ObjectNode json = (ObjectNode) Json.parse(text.replace('\'', '"'), "the text");
    assertThrows(InvalidConfigException.class, () -> HybridConfig.fromJson(json));
  }
}
