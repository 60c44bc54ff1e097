package io.peft4j.examples.wordnet;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Words for an instruction task. */
final class WordNetWordsTest {

  @Test
  void theRealFileHasPlentyOfPlainWords() {
    WordNetWords words = WordNetWords.load();
    assertTrue(words.size() > 5000, "only " + words.size());
    List<List<DefinedWord>> split = words.split(1000, 200, 1);
    Set<DefinedWord> all = new HashSet<>(split.get(0));
    assertEquals(1000, all.size());
    split.get(1).forEach(word -> assertTrue(all.add(word), word::toString));
    assertEquals(split.get(1), words.split(10, 200, 1).get(1), "the test set is its own");
    assertThrows(InvalidConfigException.class, () -> words.split(words.size(), 1, 1));
  }

  @Test
  void aWordComesWithItsDefinitionAndKind() throws IOException {
    String file =
        "  1 licence\n"
            + "00000001 05 n 01 dog 0 000 | a tame animal; \"he has a dog\"\n"
            + "00000002 05 n 02 spaniel 0 cocker 1 002 ~ 00000009 n 0000 @ 00000001 n 0000 | any"
            + " dog with long ears\n";
    List<DefinedWord> words =
        WordNetWords.read(new ByteArrayInputStream(file.getBytes(StandardCharsets.US_ASCII)))
            .split(1, 0, 1)
            .get(0);
    assertEquals(List.of(new DefinedWord("spaniel", "any dog with long ears", "dog")), words);
    assertEquals("Any dog with long ears. It is a kind of dog.", words.get(0).answer());
    assertTrue(words.get(0).namesHypernym(words.get(0).answer()));
    assertTrue(words.get(0).namesHypernym("Whatever. It is a kind of dog"));
    assertFalse(words.get(0).namesHypernym("It is a kind of dog food."));
    assertFalse(words.get(0).namesHypernym("A dog."));
  }

  @Test
  void aLineThatIsNoSynsetIsNamed() {
    String message =
        assertThrows(
                MalformedFileException.class,
                () ->
                    WordNetWords.read(
                        new ByteArrayInputStream(
                            "0 05 n zz dog\n".getBytes(StandardCharsets.US_ASCII))))
            .getMessage();
    assertTrue(message.contains("line 1"), message);
  }
}
