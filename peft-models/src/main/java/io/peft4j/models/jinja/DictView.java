package io.peft4j.models.jinja;

import java.util.List;

/** What {@code keys()}, {@code values()} and {@code items()} of a dict give. */
record DictView(Kind kind, Dict dict) {
  enum Kind {
    KEYS,
    VALUES,
    ITEMS
  }

  List<Object> elements() {
    return switch (kind) {
      case KEYS -> dict.keys();
      case VALUES -> dict.values();
      case ITEMS -> dict.items();
    };
  }
}
