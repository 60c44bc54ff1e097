package io.peft4j.models.gguf;

import io.peft4j.MalformedFileException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.function.IntPredicate;

/**
 * The merges that a SentencePiece vocabulary with scores comes to: every cut of a token into two
 * tokens is a merge, tried in descending order of the token's score, then of the parts' lengths
 * (left first), then in ascending order of the parts' numbers. The same order as transformers', so
 * that texts become the same tokens.
 */
final class SentencePieceMerges {
  /** Longest token that is cut; SentencePiece makes none of more than a few dozen characters. */
  private static final int LONGEST = 256;

  private static final Comparator<Merge> ORDER =
      Comparator.comparingDouble(Merge::score)
          .thenComparingInt(Merge::leftLength)
          .thenComparingInt(Merge::rightLength)
          .reversed();

  private SentencePieceMerges() {}

  /**
   * Two tokens that become one.
   *
   * @param leftLength characters of the left one
   * @param rightLength characters of the right one
   */
  record Merge(String left, String right, double score, int leftLength, int rightLength) {}

  /**
   * Finds the merges.
   *
   * @param vocabulary tokens to numbers, in the order of the file
   * @param scores a score for each number
   * @param whole which tokens are found whole in a text; if they are very long they are not cut
   */
  static List<Merge> derive(
      Map<String, Integer> vocabulary, double[] scores, IntPredicate whole, String origin) {
    List<Merge> merges = new ArrayList<>();
    List<Merge> local = new ArrayList<>();
    Comparator<Merge> byNumber =
        Comparator.<Merge>comparingInt(merge -> vocabulary.getOrDefault(merge.left(), 0))
            .thenComparingInt(merge -> vocabulary.getOrDefault(merge.right(), 0));
    for (Map.Entry<String, Integer> entry : vocabulary.entrySet()) {
      String token = entry.getKey();
      int id = entry.getValue();
      int length = token.codePointCount(0, token.length());
      if (length > LONGEST) {
        if (whole.test(id)) {
          continue;
        }
        throw new MalformedFileException(
            origin
                + ": the tokenizer's token "
                + id
                + " has "
                + length
                + " characters; at most "
                + LONGEST
                + " are read");
      }
      local.clear();
      int cut = 0;
      for (int left = 1; left < length; left++) {
        cut = token.offsetByCodePoints(cut, 1);
        String first = token.substring(0, cut);
        if (vocabulary.containsKey(first)) {
          String second = token.substring(cut);
          if (vocabulary.containsKey(second)) {
            // Both zeros count as one.
            local.add(new Merge(first, second, scores[id] + 0.0, left, length - left));
          }
        }
      }
      local.sort(byNumber);
      merges.addAll(local);
    }
    merges.sort(ORDER);
    return merges;
  }
}
