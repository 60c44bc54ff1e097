package io.peft4j.examples.wordnet;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class WordNetGlossesTest {
  private static WordNetGlosses wordNet;

  @BeforeAll
  static void load() {
    wordNet = WordNetGlosses.load();
  }

  private static WordNetGlosses read(String... lines) throws IOException {
    String file = "  1 a licence | with a bar\n" + String.join("\n", lines) + "\n";
    return WordNetGlosses.read(new ByteArrayInputStream(file.getBytes(US_ASCII)));
  }

  private static String synset(String file, String gloss) {
    return "00001740 " + file + " n 01 a_word 0 000 | " + gloss + "  ";
  }

  @Test
  void everyClassHasAsManyTextsAsAskedFor() {
    Split split = wordNet.split(7);
    assertEquals(10, split.labels().size());
    assertEquals(8000, split.train().size());
    assertEquals(1500, split.test().size());
    for (int label = 0; label < 10; label++) {
      int wanted = label;
      assertEquals(800, split.train().stream().filter(t -> t.label() == wanted).count());
      assertEquals(150, split.test().stream().filter(t -> t.label() == wanted).count());
    }
  }

  @Test
  void noTextOccursTwice() {
    Split split = wordNet.split(7);
    Set<String> texts = new HashSet<>();
    Stream.concat(split.train().stream(), split.test().stream())
        .forEach(
            each -> assertTrue(texts.add(each.text().toLowerCase(Locale.ROOT)), each.toString()));
    assertEquals(9500, texts.size());
  }

  @Test
  void labelsAreTheSupersensesOfTheTexts() {
    Split split = wordNet.split(7);
    for (int label = 0; label < 10; label++) {
      Set<String> glosses = new HashSet<>(wordNet.glosses(split.labels().get(label)));
      for (LabelledText each : split.test()) {
        assertEquals(each.label() == label, glosses.contains(each.text()), each.toString());
      }
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "animal|a member of the genus Canis",
        "artifact|a motor vehicle with four wheels",
        "body|the hollow muscular organ located behind the sternum",
        "food|Italian open pie made of thin bread dough",
        "person|a person whose occupation is teaching",
        "location|the capital and largest city of France",
        "plant|a deciduous tree of the genus Quercus",
        "act|larceny by threat of violence",
        "communication|a written message addressed to a person or organization",
        "state|a physiological need for food"
      })
  void classesAreWhatTheirNamesSay(String supersense, String start) {
    for (String each : WordNetGlosses.SUPERSENSES) {
      assertEquals(
          each.equals(supersense),
          wordNet.glosses(each).stream().anyMatch(gloss -> gloss.startsWith(start)),
          each);
    }
  }

  @Test
  void theSeedDecides() {
    assertEquals(wordNet.split(20, 10, 3), WordNetGlosses.load().split(20, 10, 3));
    assertNotEquals(wordNet.split(20, 10, 3), wordNet.split(20, 10, 4));
  }

  @Test
  void theTestSetDoesNotDependOnTheTrainingSet() {
    assertEquals(
        new HashSet<>(wordNet.split(20, 10, 3).test()),
        new HashSet<>(wordNet.split(300, 10, 3).test()));
  }

  @Test
  void textsComeInMixedOrder() {
    List<LabelledText> train = wordNet.split(100, 10, 3).train();
    long changes = 0;
    for (int i = 1; i < train.size(); i++) {
      changes += train.get(i).label() != train.get(i - 1).label() ? 1 : 0;
    }
    assertTrue(changes > 800, "label changes: " + changes);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "a general concept|a general concept",
        "a limit; \"he put a ceiling on it\"; \"there was a roof\"|a limit",
        "a syndicate; organized in families|a syndicate; organized in families",
        "the act of replacing: \"he sent Smith\"|the act of replacing",
        "a demand especially in the phrase \"the call of duty\"|"
            + "a demand especially in the phrase \"the call of duty\"",
        "a  judge ;  \"a Daniel\" -- Shakespeare|a judge",
      })
  void definitionsEndBeforeTheFirstExample(String gloss, String definition) {
    assertEquals(definition, WordNetGlosses.definition(gloss));
  }

  @Test
  void duplicatesAreKeptOnceWithinAClassAndNeverAcrossClasses() throws IOException {
    WordNetGlosses few =
        read(
            synset("05", "a fish"),
            synset("13", "A fish; \"they ate it\""),
            synset("05", "a bird"),
            synset("05", "A Bird"),
            synset("03", "a thing"),
            synset("03", "a bird"));
    assertEquals(List.of("a bird"), few.glosses("animal"));
    assertEquals(List.of(), few.glosses("food"));
  }

  @Test
  void wrongInputIsRefused() {
    assertThrows(MalformedFileException.class, () -> read("00001740 05 v 01 run 0 000 | to run"));
    assertThrows(MalformedFileException.class, () -> read("00001740 05 n 01 run 0 000"));
    assertThrows(MalformedFileException.class, () -> read("gibberish"));
    assertThrows(InvalidConfigException.class, () -> wordNet.split(0, 10, 1));
    assertThrows(InvalidConfigException.class, () -> wordNet.split(10, 0, 1));
    String message =
        assertThrows(InvalidConfigException.class, () -> wordNet.split(5000, 150, 1)).getMessage();
    assertTrue(message.contains("5000") && message.contains("body"), message);
    assertThrows(InvalidConfigException.class, () -> wordNet.glosses("motive"));
    assertFalse(wordNet.glosses("state").isEmpty());
  }
}
