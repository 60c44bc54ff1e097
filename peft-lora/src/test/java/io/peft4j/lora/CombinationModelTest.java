package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.basicmodelzoo.basic.Mlp;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Block;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraCombination.Type;
import io.peft4j.lora.LoraInitialization.Kind;
import io.peft4j.target.Targets;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** {@link Lora#addWeightedAdapter} on a network. */
class CombinationModelTest {
  private static final String FIRST = "02Linear";
  private static final String SECOND = "04Linear";
  private static final String HEAD = "06Linear";

  private NDManager manager;
  private NDList input;
  private PeftModel model;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager(null, "PyTorch");
    Block block = new Mlp(12, 5, new int[] {16, 14});
    block.initialize(manager, DataType.FLOAT32, new Shape(4, 12));
    input = new NDList(manager.randomNormal(new Shape(4, 12)));
    model = Peft.wrap(block, random(FIRST, SECOND).rank(2).alpha(3).build());
    model.addAdapter("b", random(SECOND, HEAD).rank(3).useRslora(true).build());
  }

  @AfterEach
  void close() {
    model.close();
    manager.close();
  }

  private static LoraConfigBuilder random(String... targets) {
    return LoraConfig.builder().initialization(Kind.RANDOM).targetModules(targets);
  }

  private static LoraCombination.Builder recipe() {
    return LoraCombination.builder().adapter("default", 0.7).adapter("b", -0.4);
  }

  private float[] outputs(AdapterSet set) {
    return model.with(set).forward(input).head().toFloatArray();
  }

  private void isTheSum(String name) {
    AdapterSet both = AdapterSet.of().and("default", 0.7).and("b", -0.4);
    assertArrayEquals(outputs(both), outputs(AdapterSet.of(name)), 1e-5f);
  }

  private LoraConfig config(String name) {
    return (LoraConfig) model.adapter(name).config();
  }

  private String refusal(Class<? extends PeftException> type, LoraCombination.Builder recipe) {
    List<String> before = model.adapterNames();
    String message =
        assertThrows(type, () -> Lora.addWeightedAdapter(model, "new", recipe.build()))
            .getMessage();
    assertEquals(before, model.adapterNames());
    return message;
  }

  @Test
  void catActsAsBothTogether() {
    Lora.addWeightedAdapter(model, "new", recipe().build());
    isTheSum("new");
    assertEquals(5, config("new").rank());
    assertEquals(5, config("new").alpha());
    assertFalse(config("new").useRslora());
    assertEquals(Targets.names(FIRST, SECOND, HEAD), config("new").targetModules().orElseThrow());
    assertEquals(3, model.layerReport("new").size());
  }

  @Test
  void svdOfFullRankActsAsBothTogether() {
    Lora.addWeightedAdapter(model, "new", recipe().type(Type.SVD).svdRank(5).build());
    isTheSum("new");
  }

  @Test
  void pissaCountsAsWhatItIsSavedAs() {
    model.addAdapter(
        "p", LoraConfig.builder().rank(2).initialization(Kind.PISSA).targetModules(FIRST).build());
    NDArray a = model.adapter("p").parameters().values().iterator().next();
    a.subi(manager.ones(a.getShape()).mul(0.3f));
    LoraCombination recipe = LoraCombination.builder().adapter("b", 0.5).adapter("p", 2).build();
    Lora.addWeightedAdapter(model, "new", recipe);
    AdapterSet both = AdapterSet.of().and("b", 0.5).and("p", 2);
    assertArrayEquals(outputs(both), outputs(AdapterSet.of("new")), 1e-4f);
    assertEquals(3 + 4, config("new").rank());
  }

  @Test
  void seedRepeatsWhatDareDrops() {
    model.addAdapter("c", random(FIRST, HEAD).rank(2).build());
    LoraCombination.Builder recipe =
        LoraCombination.builder()
            .type(Type.DARE_LINEAR)
            .adapter("default", 1)
            .adapter("c", 1)
            .density(0.5);
    Lora.addWeightedAdapter(model, "one", recipe.seed(3).build());
    Lora.addWeightedAdapter(model, "same", recipe.seed(3).build());
    Lora.addWeightedAdapter(model, "other", recipe.seed(4).build());
    assertArrayEquals(outputs(AdapterSet.of("one")), outputs(AdapterSet.of("same")));
    float difference = outputs(AdapterSet.of("one"))[0] - outputs(AdapterSet.of("other"))[0];
    assertTrue(difference != 0, "another seed drops other values");
  }

  @Test
  void targetsThatAreRestrictedDifferentlyBecomePaths() {
    model.addAdapter(
        "c", random("Linear").targetModules(expression(".*Linear")).excludeModules(HEAD).build());
    Lora.addWeightedAdapter(
        model, "new", LoraCombination.builder().adapter("c", 1).adapter("b", 1).build());
    assertEquals(Targets.names(FIRST, SECOND, HEAD), config("new").targetModules().orElseThrow());
    assertTrue(config("new").excludeModules().isEmpty());
    AdapterSet both = AdapterSet.of("c", "b");
    assertArrayEquals(outputs(both), outputs(AdapterSet.of("new")), 1e-5f);
  }

  @Test
  void expressionsAreJoined() {
    model.addAdapter("c", random().targetModules(expression("02.*")).build());
    model.addAdapter("d", random().targetModules(expression("04.*|06.*")).build());
    Lora.addWeightedAdapter(
        model, "new", LoraCombination.builder().adapter("c", 1).adapter("d", 1).build());
    assertEquals(expression("(02.*)|(04.*|06.*)"), config("new").targetModules().orElseThrow());
  }

  private static Targets expression(String expression) {
    return Targets.expression(expression);
  }

  @Test
  void trainedModuleGoesOver() {
    model.addAdapter("c", random(FIRST).modulesToSave(HEAD).build());
    NDArray head = model.adapter("c").state().tensors().get("base_model.model." + HEAD + ".weight");
    head.addi(manager.ones(head.getShape()));
    LoraCombination.Builder recipe =
        LoraCombination.builder().adapter("default", 0.5).adapter("c", 0.5);
    Lora.addWeightedAdapter(model, "new", recipe.build());
    assertEquals(List.of(HEAD), config("new").modulesToSave());
    AdapterSet both = AdapterSet.of().and("default", 0.5).and("c", 0.5);
    assertArrayEquals(outputs(both), outputs(AdapterSet.of("new")), 1e-4f);
  }

  @Test
  void moduleTrainedByTwoIsRefused() {
    model.addAdapter("c", random(FIRST).modulesToSave(HEAD).build());
    model.addAdapter("d", random(SECOND).modulesToSave(HEAD).build());
    String message =
        refusal(
            InvalidConfigException.class,
            LoraCombination.builder().adapter("c", 1).adapter("d", 1));
    assertTrue(message.contains("'c' and 'd' both bring"), message);
    assertTrue(message.contains(HEAD), message);
  }

  @Test
  void moduleThatOneTrainsAndAnotherAdaptsIsRefused() {
    model.addAdapter("c", random(FIRST).modulesToSave(HEAD).build());
    String message =
        refusal(
            InvalidConfigException.class,
            LoraCombination.builder().adapter("b", 1).adapter("c", 1));
    assertTrue(message.contains("modules_to_save"), message);
  }

  @Test
  void whatCannotBeWeightedIsRefusedByName() {
    model.addAdapter("dora", random(FIRST).useDora(true).build());
    model.addAdapter("biased", random(FIRST).loraBias(true).build());
    model.addAdapter("biases", random(FIRST).bias(LoraBias.ALL).build());
    String[][] cases = {{"dora", "use_dora"}, {"biased", "lora_bias"}, {"biases", "bias 'all'"}};
    for (String[] expected : cases) {
      String message =
          refusal(
              InvalidConfigException.class,
              LoraCombination.builder().adapter("b", 1).adapter(expected[0], 1));
      assertTrue(message.contains("'" + expected[0] + "'"), message);
      assertTrue(message.contains(expected[1]), message);
    }
  }

  @Test
  void differentRanksAreRefusedWhereTheyMustBeEqual() {
    for (Type type : Type.values()) {
      String name = type.key();
      if (type != Type.CAT && !name.endsWith("svd")) {
        String message = refusal(InvalidConfigException.class, recipe().type(type).density(0.5));
        assertTrue(message.contains(name) && message.contains("rank"), message);
      }
    }
  }

  @Test
  void namesAreChecked() {
    assertTrue(
        refusal(AdapterStateException.class, LoraCombination.builder().adapter("nobody", 1))
            .contains("nobody"));
    AdapterStateException e =
        assertThrows(
            AdapterStateException.class,
            () -> Lora.addWeightedAdapter(model, "b", recipe().build()));
    assertTrue(e.getMessage().contains("'b'"), e.getMessage());
  }

  @Test
  void nothingIsLeftBehind() {
    NDManager first = model.adapter("default").parameters().values().iterator().next().getManager();
    NDManager second = model.adapter("b").parameters().values().iterator().next().getManager();
    Lora.addWeightedAdapter(model, "warm", recipe().build());
    int before = first.getManagedArrays().size() + second.getManagedArrays().size();
    for (Type type : List.of(Type.CAT, Type.SVD, Type.DARE_TIES_SVD, Type.MAGNITUDE_PRUNE_SVD)) {
      Lora.addWeightedAdapter(model, "new", recipe().type(type).density(0.5).build());
      model.deleteAdapter("new");
    }
    assertEquals(before, first.getManagedArrays().size() + second.getManagedArrays().size());
  }
}
