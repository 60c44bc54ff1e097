package io.peft4j.models.jinja;

/** The text that a template, a macro or a block has printed so far. */
final class Output {
  private final Budget budget;
  private final StringBuilder text = new StringBuilder();

  Output(Budget budget) {
    this.budget = budget;
  }

  void add(String more) {
    if ((long) text.length() + more.length() > Budget.MAX_TEXT) {
      throw new Failure("the output grows beyond " + Budget.MAX_TEXT + " characters");
    }
    text.append(budget.text(more));
  }

  @Override
  public String toString() {
    return text.toString();
  }
}
