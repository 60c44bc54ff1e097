package io.peft4j.models.generate;

/** The highest of many scores, in order, the first of equals first. There are few of them. */
final class TopScores {
  private final float[] scores;
  private final int[] indexes;
  private int size;

  TopScores(int most) {
    scores = new float[most];
    indexes = new int[most];
  }

  void offer(float score, int index) {
    if (size == scores.length && !(score > scores[size - 1])) {
      return;
    }
    int place = size < scores.length ? size++ : size - 1;
    while (place > 0 && score > scores[place - 1]) {
      scores[place] = scores[place - 1];
      indexes[place] = indexes[place - 1];
      place--;
    }
    scores[place] = score;
    indexes[place] = index;
  }

  int size() {
    return size;
  }

  float score(int place) {
    return scores[place];
  }

  int index(int place) {
    return indexes[place];
  }

  void clear() {
    size = 0;
  }
}
