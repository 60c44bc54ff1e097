/**
 * The contract that every fine-tuning method must pass, as a test library: extend {@link
 * io.peft4j.testkit.MethodContract}, give it {@link io.peft4j.testkit.Fixture}s, and run it with
 * JUnit. It knows no method, no model and no training loop of this project.
 */
@NullMarked
package io.peft4j.testkit;

import org.jspecify.annotations.NullMarked;
