/** The command {@code peft train}: what its configuration files say, and a run of it. */
@NullMarked
package io.peft4j.cli.train;

import org.jspecify.annotations.NullMarked;
