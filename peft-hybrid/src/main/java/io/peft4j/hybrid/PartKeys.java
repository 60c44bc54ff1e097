package io.peft4j.hybrid;

import io.peft4j.AdapterStateException;
import io.peft4j.spi.PeftMethod;

/** The state keys of one part, its own and the hybrid's, see {@link HybridConfig}. */
final class PartKeys {
  /** What keys begin with that stand whole, beside those with a prefix. */
  private static final String WHOLE = "base_model.";

  private final String space;
  private final String own;

  PartKeys(String part, PeftMethod method) {
    space = method.keySpace() + "." + part + ".";
    own = method.keyPrefix();
  }

  /** What the hybrid's keys of this part begin with. */
  String space() {
    return space;
  }

  /** The hybrid's key. */
  String outer(String key) {
    String outer = space + (key.startsWith(own) ? key.substring(own.length()) : key);
    if (!inner(outer).equals(key)) {
      throw new AdapterStateException(
          "the state key " + key + " of a part must begin with " + own + " or " + WHOLE);
    }
    return outer;
  }

  /** The part's key of one of its keys in the hybrid. */
  String inner(String key) {
    String rest = key.substring(space.length());
    return rest.startsWith(WHOLE) ? rest : own + rest;
  }
}
