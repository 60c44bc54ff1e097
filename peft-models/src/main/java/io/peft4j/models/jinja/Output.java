package io.peft4j.models.jinja;

import java.util.ArrayList;
import java.util.List;

/** The text that a template, a macro or a block has printed so far. */
final class Output {
  private final Budget budget;
  private final StringBuilder text = new StringBuilder();
  private final List<int[]> marks = new ArrayList<>();

  Output(Budget budget) {
    this.budget = budget;
  }

  void add(String more) {
    if ((long) text.length() + more.length() > Budget.MAX_TEXT) {
      throw new Failure("the output grows beyond " + Budget.MAX_TEXT + " characters");
    }
    text.append(budget.text(more));
  }

  int length() {
    return text.length();
  }

  /** Marks what was printed since. */
  void mark(int from) {
    marks.add(new int[] {from, text.length()});
  }

  List<int[]> marks() {
    return marks;
  }

  @Override
  public String toString() {
    return text.toString();
  }
}
