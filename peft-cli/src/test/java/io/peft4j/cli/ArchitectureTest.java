package io.peft4j.cli;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.jspecify.annotations.NullMarked;
import org.junit.jupiter.api.Test;

/** Who may see whom. Stands here because this module sees all others. */
final class ArchitectureTest {
  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
          .importPackages("io.peft4j");

  private static final String[] CORE = {
    "io.peft4j",
    "io.peft4j.spi..",
    "io.peft4j.target..",
    "io.peft4j.state..",
    "io.peft4j.nn..",
    "io.peft4j.torch.."
  };

  private static final List<String> MODULES =
      List.of("lora", "full", "ia3", "vera", "hybrid", "models", "train");

  private static final DescribedPredicate<JavaClass> OURS = resideInAPackage("io.peft4j..");

  @Test
  void everyModuleIsLookedAt() {
    for (String module : MODULES) {
      assertTrue(CLASSES.containPackage("io.peft4j." + module), module);
    }
    assertTrue(CLASSES.containPackage("io.peft4j.onnx"));
    assertTrue(CLASSES.containPackage("io.peft4j.qlora"));
    assertTrue(CLASSES.containPackage("io.peft4j.nn"));
  }

  @Test
  void coreKnowsNobody() {
    onlyKnow(CORE, CORE);
  }

  @Test
  void methodsModelsAndTrainingKnowOnlyCore() {
    for (String module : MODULES) {
      String[] own = {"io.peft4j." + module + ".."};
      String[] seen = new String[CORE.length + 1];
      System.arraycopy(CORE, 0, seen, 0, CORE.length);
      seen[CORE.length] = own[0];
      onlyKnow(own, seen);
    }
  }

  @Test
  void onnxKnowsCoreModelsAndWhatItExports() {
    String[] own = {"io.peft4j.onnx.."};
    List<String> seen = new ArrayList<>(List.of(CORE));
    seen.addAll(List.of("io.peft4j.onnx..", "io.peft4j.models..", "io.peft4j.lora.."));
    onlyKnow(own, seen.toArray(String[]::new));
  }

  @Test
  void qloraKnowsCoreLoraAndTraining() {
    String[] own = {"io.peft4j.qlora.."};
    List<String> seen = new ArrayList<>(List.of(CORE));
    seen.addAll(List.of("io.peft4j.qlora..", "io.peft4j.lora..", "io.peft4j.train.."));
    onlyKnow(own, seen.toArray(String[]::new));
  }

  private static void onlyKnow(String[] who, String[] seen) {
    classes()
        .that()
        .resideInAnyPackage(who)
        .should()
        .onlyDependOnClassesThat(
            OURS.and(resideInAnyPackage(seen)).or(DescribedPredicate.not(OURS)))
        .check(CLASSES);
  }

  @Test
  void theEngineRoomKnowsOnlyErrors() {
    classes()
        .that()
        .resideInAPackage("io.peft4j.torch..")
        .should()
        .onlyDependOnClassesThat(
            DescribedPredicate.not(OURS)
                .or(resideInAPackage("io.peft4j.torch.."))
                .or(JavaClass.Predicates.assignableTo(RuntimeException.class)))
        .check(CLASSES);
  }

  @Test
  void librariesDoNotPrint() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.peft4j.cli..")
        .should()
        .accessField(System.class, "out")
        .orShould()
        .callMethod(Throwable.class, "printStackTrace")
        .check(CLASSES);
  }

  @Test
  void packagesSayWhatMayBeNull() {
    TreeSet<String> unmarked = new TreeSet<>();
    for (JavaClass type : CLASSES) {
      if (!type.getPackage().isAnnotatedWith(NullMarked.class)) {
        unmarked.add(type.getPackageName());
      }
    }
    assertEquals(new TreeSet<String>(), unmarked);
  }
}
