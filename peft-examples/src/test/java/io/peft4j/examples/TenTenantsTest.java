package io.peft4j.examples;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The example does what it says. */
final class TenTenantsTest {

  @Test
  void everyTenantFindsItsShelves(@TempDir Path output) {
    assertTrue(TenTenants.run(output));
  }
}
