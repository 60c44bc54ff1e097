package io.peft4j.state;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Set;

/** Knows Python's pickle files by name or first bytes, and says how to get rid of them. */
final class Pickles {
  private static final Set<String> EXTENSIONS = Set.of("bin", "pt", "pth", "ckpt", "pkl", "pickle");

  private Pickles() {}

  static boolean hasPickleName(Path file) {
    String name = String.valueOf(file.getFileName());
    return EXTENSIONS.contains(name.substring(name.lastIndexOf('.') + 1).toLowerCase(Locale.ROOT));
  }

  /**
   * What a file that is no safetensors file may be instead.
   *
   * @param start the first bytes of the file
   * @return the rest of a message
   */
  static String guess(Path file, ByteBuffer start) {
    byte[] bytes = new byte[Math.min(8, start.remaining())];
    start.get(start.position(), bytes);
    if (startsWith(bytes, 'P', 'K', 3, 4)
        || (bytes.length > 2 && bytes[0] == (byte) 0x80 && bytes[1] >= 2 && bytes[1] <= 5)) {
      return refusal(file);
    }
    if (new String(bytes, StandardCharsets.ISO_8859_1).startsWith("version ")) {
      return file
          + ": is a Git LFS pointer, not the file it points to; fetch that with: git lfs pull";
    }
    return "";
  }

  static String refusal(Path file) {
    String name = String.valueOf(file.getFileName());
    String stem = name.contains(".") ? name.substring(0, name.lastIndexOf('.')) : name;
    String target = stem.equals("pytorch_model") ? "model" : stem;
    return file
        + ": is a Python pickle, which can run any code when it is read; only safetensors files are"
        + " read. Convert it once, in Python:\n"
        + "  import torch, safetensors.torch\n"
        + "  safetensors.torch.save_file({k: v.clone().contiguous() for k, v in torch.load('"
        + name
        + "', map_location='cpu', weights_only=True).items()}, '"
        + target
        + ".safetensors', metadata={'format': 'pt'})";
  }

  private static boolean startsWith(byte[] bytes, int... start) {
    for (int i = 0; i < start.length; i++) {
      if (i >= bytes.length || bytes[i] != start[i]) {
        return false;
      }
    }
    return true;
  }
}
