/** The command line: plans, checks and merges adapters over Hugging Face directories. */
@NullMarked
package io.peft4j.cli;

import org.jspecify.annotations.NullMarked;
