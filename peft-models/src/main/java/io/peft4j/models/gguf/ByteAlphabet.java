package io.peft4j.models.gguf;

import java.nio.charset.StandardCharsets;

/**
 * The 256 characters that byte-level tokenizers write bytes as: printable Latin-1 characters stand
 * for themselves, the other bytes in ascending order for U+0100 and up.
 */
final class ByteAlphabet {
  private static final char[] CHARACTERS = new char[256];

  static {
    char next = 0x100;
    for (int value = 0; value < 256; value++) {
      boolean printable =
          (value >= '!' && value <= '~') || (value >= 0xa1 && value <= 0xff && value != 0xad);
      CHARACTERS[value] = printable ? (char) value : next++;
    }
  }

  private ByteAlphabet() {}

  /** A token in the alphabet: itself if it is, else its bytes. */
  static String spell(String token) {
    if (token.chars().allMatch(ByteAlphabet::contains)) {
      return token;
    }
    byte[] bytes = token.getBytes(StandardCharsets.UTF_8);
    StringBuilder spelled = new StringBuilder(bytes.length);
    for (byte value : bytes) {
      spelled.append(CHARACTERS[value & 0xff]);
    }
    return spelled.toString();
  }

  private static boolean contains(int character) {
    return character < 0x100
        ? CHARACTERS[character] == character
        : character < 0x100 + 68; // 256 bytes without 188 printable ones
  }
}
