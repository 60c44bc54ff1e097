package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Help, version, and command lines that make no sense. */
final class CommandLineTest {
  @Test
  void helpIsShownWithAndWithoutAsking() {
    String help = Cli.run("--help").succeeded().out();
    assertTrue(help.startsWith("Usage: peft "), help);
    for (String command :
        new String[] {"inspect", "verify", "merge", "generate", "chat", "perplexity"}) {
      assertTrue(help.contains("  " + command + " "), help);
    }
    assertEquals(help, Cli.run().succeeded().out());
  }

  @ParameterizedTest
  @ValueSource(strings = {"inspect", "verify", "merge", "generate", "chat", "perplexity"})
  void everyCommandExplainsItself(String command) {
    String help = Cli.run(command, "--help").succeeded().out();
    assertTrue(help.startsWith("Usage: peft " + command + " "), help);
    assertTrue(help.contains("--base"), help);
  }

  @Test
  void versionIsOneLine() {
    assertTrue(Cli.run("--version").succeeded().out().matches("peft \\(peft4j\\) \\S+\\R"));
  }

  @Test
  void unknownCommandsAndOptionsNameTheNearest() {
    Cli.run("verfy").refused("'verfy'", "nearest: verify");
    Cli.run("inspect", "--base", "x", "--confg", "y").refused("--confg", "peft inspect --help");
    Cli.run("verify").refused("--base", "--io", "--expect");
    Cli.run("inspect", "--base", Cli.model("llama"), "--batch", "many").refused("--batch", "many");
    Cli.run("inspect", "--base", Cli.model("llama"), "--batch", "0").refused("--batch");
  }

  @Test
  void stackTracesAreForThoseWhoAsk() {
    assertFalse(Cli.run("inspect", "--base", "missing").err().contains("\tat "));
    for (Cli run :
        new Cli[] {
          Cli.run("inspect", "--base", "missing", "--verbose"),
          Cli.run("--verbose", "inspect", "--base", "missing")
        }) {
      assertEquals(2, run.code());
      assertTrue(run.err().startsWith("peft: missing: there is no such file"), run.err());
      assertTrue(run.err().contains("\tat io.peft4j"), run.err());
    }
  }
}
