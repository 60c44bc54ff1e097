package io.peft4j.torch;

import com.sun.jna.Function;
import com.sun.jna.NativeLibrary;
import com.sun.jna.NativeLong;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The memory that the engine allocates from. Large arrays that lived for a moment among others that
 * stay leave holes, which the C library of Linux keeps.
 */
public final class NativeHeap {
  private static final Logger LOG = LoggerFactory.getLogger(NativeHeap.class);
  private static final @Nullable Function TRIM = find();

  private NativeHeap() {}

  private static @Nullable Function find() {
    try {
      return NativeLibrary.getInstance("c").getFunction("malloc_trim");
    } catch (LinkageError e) {
      LOG.debug("what the engine frees may stay with the process", e);
      return null;
    }
  }

  /** Gives what is free back to the system, where there is a way to. Takes some milliseconds. */
  public static void trim() {
    if (TRIM != null) {
      TRIM.invokeInt(new Object[] {new NativeLong(0)});
    }
  }
}
