package io.peft4j.adapter;

/** What a new adapter's projections begin with, {@code init_weights} in files. */
public enum Initialization {
  /** Both weights normal with deviation 0.02, so that the output moves at once. */
  BERT("bert"),
  /** The down weight uniform within 1/√in, the up weight zero: nothing changes at first. */
  MAM_ADAPTER("mam_adapter"),
  /** Both weights normal with deviation 0.01, cut off at 0.02. */
  HOULSBY("houlsby"),
  /** Nothing changes at first: the same as {@link #MAM_ADAPTER}, as which it is saved. */
  IDENTITY("mam_adapter");

  private final String key;

  Initialization(String key) {
    this.key = key;
  }

  /**
   * The name in files.
   *
   * @return for example {@code bert}
   */
  public String key() {
    return key;
  }
}
