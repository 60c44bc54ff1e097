package io.peft4j.models;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.jni.CharSpan;
import io.peft4j.TextEncoder.Conversation;
import io.peft4j.models.chat.ChatMessage;
import io.peft4j.models.chat.ChatOptions;
import io.peft4j.models.chat.ChatTemplate;
import io.peft4j.models.jinja.JinjaTemplate.Rendered;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What of a conversation the assistant says, in the text and in its tokens. */
final class ChatMarks {
  private ChatMarks() {}

  static Rendered render(ChatTemplate template, Conversation conversation, boolean prompt) {
    return render(template, conversation, conversation.messages().size(), prompt);
  }

  private static Rendered render(
      ChatTemplate template, Conversation conversation, int messages, boolean prompt) {
    ChatOptions.Builder options = ChatOptions.builder().generationPrompt(prompt);
    if (conversation.tools() != null) {
      options.tools(conversation.tools());
    }
    conversation.variables().forEach(options::variable);
    return template.renderMarked(
        conversation.messages().subList(0, messages).stream().map(ChatMessage::of).toList(),
        options.build());
  }

  /**
   * For templates that mark nothing: an answer is what its message adds to the messages before it
   * and the generation prompt.
   */
  static List<int[]> turnByTurn(ChatTemplate template, Conversation conversation, String whole) {
    List<int[]> marks = new ArrayList<>();
    for (int i = 0; i < conversation.messages().size(); i++) {
      if (!"assistant".equals(conversation.messages().get(i).get("role"))) {
        continue;
      }
      // Nothing comes before a first message, and templates refuse to render nothing.
      String before = i == 0 ? "" : render(template, conversation, i, true).text();
      String after = render(template, conversation, i + 1, false).text();
      if (!after.startsWith(before) || !whole.startsWith(after)) {
        throw new InvalidInputException(
            "the chat template marks nothing by {% generation %}, and writes the conversation up to"
                + " message "
                + (i + 1)
                + " otherwise than the whole: what the assistant says cannot be told apart");
      }
      marks.add(new int[] {before.length(), after.length()});
    }
    return marks;
  }

  /**
   * The tokens from the one that has a mark's first character to the one that has its last, as
   * transformers takes them. Of tokens that share a character the first has it.
   */
  static boolean[] tokens(Encoding encoding, String text, List<int[]> marks) {
    CharSpan[] spans = encoding.getCharTokenSpans();
    boolean[] marked = new boolean[spans.length];
    for (int[] mark : marks) {
      // Spans count code points.
      int first = token(spans, text.codePointCount(0, mark[0]));
      if (first < 0 || mark[0] == mark[1]) {
        continue;
      }
      int last = token(spans, text.codePointCount(0, mark[1]) - 1);
      Arrays.fill(marked, first, last < 0 ? marked.length : last + 1, true);
    }
    return marked;
  }

  private static int token(CharSpan[] spans, int character) {
    for (int i = 0; i < spans.length; i++) {
      if (spans[i] != null && spans[i].getStart() <= character && character < spans[i].getEnd()) {
        return i;
      }
    }
    return -1;
  }
}
