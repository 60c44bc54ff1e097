package io.peft4j.models.jinja;

import java.util.Iterator;

/** Python's generator: what {@code map}, {@code select} and their like give. Runs once. */
record Stream(Iterator<Object> elements) {}
