package io.peft4j.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.lora.LoraInitialization;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The service over the real MiniLM with a random head, asked through HTTP. */
final class AdapterServiceTest {
  private static final List<String> LABELS = List.of("animal", "plant", "person");

  private static PretrainedModel base;
  private static PeftModel model;
  private static Tokenizer tokenizer;
  private static AdapterService service;

  @BeforeAll
  static void start() throws Exception {
    base = MiniLm.classifier(LABELS);
    model = Peft.open(base);
    model.addAdapter("loud", random());
    try (InputStream json =
        MiniLm.class.getClassLoader().getResourceAsStream("all-minilm-l6-v2-tokenizer.json")) {
      tokenizer = Tokenizer.load(json);
    }
    service = new AdapterService(model, tokenizer, LABELS, 0);
  }

  private static LoraConfig random() {
    return LoraConfig.builder()
        .targetModules("query", "value")
        .initialization(LoraInitialization.Kind.RANDOM)
        .alpha(64)
        .build();
  }

  @AfterAll
  static void stop() {
    service.close();
    tokenizer.close();
    model.close();
    base.close();
  }

  private static HttpResponse<String> call(String method, String path, String body)
      throws Exception {
    return HttpClient.newHttpClient()
        .send(
            HttpRequest.newBuilder(URI.create("http://localhost:" + service.port() + path))
                .method(method, BodyPublishers.ofString(body))
                .build(),
            BodyHandlers.ofString());
  }

  @Test
  void theNamedAdapterAnswers() throws Exception {
    String plain = call("POST", "/classify", "{\"text\": \"a small bird\"}").body();
    String adapted =
        call("POST", "/classify", "{\"text\": \"a small bird\", \"adapter\": \"loud\"}").body();
    assertTrue(plain.contains("\"label\""), plain);
    assertNotEquals(plain, adapted);
  }

  @Test
  void anUnknownAdapterIsNamed() throws Exception {
    HttpResponse<String> answer =
        call("POST", "/classify", "{\"text\": \"x\", \"adapter\": \"lost\"}");
    assertEquals(400, answer.statusCode());
    assertTrue(answer.body().contains("lost"), answer.body());
  }

  @Test
  void adaptersComeAndGo(@TempDir Path directory) throws Exception {
    model.saveAs("loud", directory);
    HttpResponse<String> loaded =
        call("PUT", "/adapters/second", "{\"directory\": \"" + directory + "\"}");
    assertEquals(200, loaded.statusCode(), loaded.body());
    assertTrue(loaded.body().contains("second"));
    String first = call("POST", "/classify", "{\"text\": \"oak\", \"adapter\": \"loud\"}").body();
    assertEquals(
        first, call("POST", "/classify", "{\"text\": \"oak\", \"adapter\": \"second\"}").body());
    assertEquals("[\"loud\"]", call("DELETE", "/adapters/second", "").body());
  }
}
