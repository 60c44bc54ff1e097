package io.peft4j.models.jinja;

import java.util.List;
import java.util.Set;

/**
 * A macro as it is written.
 *
 * @param defaults of the last parameters
 * @param mentions which of caller, kwargs and varargs its body speaks of: it takes those as well
 */
record MacroCode(
    String name,
    List<String> parameters,
    List<Expression> defaults,
    List<Statement> body,
    Set<String> mentions) {}
