package io.peft4j.examples;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.peft4j.AdapterStateException;
import io.peft4j.Peft;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import io.peft4j.state.Json;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * A plain HTTP service, the JDK's own server, over one base model with many adapters: each request
 * names the adapter that answers it.
 *
 * <pre>{@code
 * POST /classify {"adapter": "news", "text": "..."}      -> {"label": "sport", "scores": {...}}
 * GET  /adapters                                         -> ["news", "tone"]
 * PUT  /adapters/news {"directory": "/models/news"}      -> loads an adapter while requests run
 * DELETE /adapters/news                                  -> deletes it; requests in flight finish
 * }</pre>
 *
 * <p>A request without {@code adapter} is answered by the base alone. The service binds to the
 * loopback address; put it behind what your house uses for authentication, since {@code PUT} reads
 * directories of this machine.
 */
public final class AdapterService implements AutoCloseable {
  private static final int LONGEST = 256;
  private static final int LARGEST_REQUEST = 1 << 20;

  private final PeftModel model;
  private final Tokenizer tokenizer;
  private final List<String> labels;
  private final HttpServer server;
  private final ExecutorService threads;

  /**
   * Starts the service.
   *
   * @param model a classifier with adapters; it stays the caller's
   * @param tokenizer the base's tokenizer; it stays the caller's
   * @param labels the names of the classes
   * @param port port on the loopback address; 0 for any free one
   * @throws IOException if the port is taken
   */
  public AdapterService(PeftModel model, Tokenizer tokenizer, List<String> labels, int port)
      throws IOException {
    this.model = model;
    this.tokenizer = tokenizer;
    this.labels = List.copyOf(labels);
    threads = Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors());
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
    server.setExecutor(threads);
    server.createContext("/classify", exchange -> answer(exchange, this::classify));
    server.createContext("/adapters", exchange -> answer(exchange, this::adapters));
    server.start();
  }

  /**
   * Serves a model from a Hugging Face directory.
   *
   * @param arguments the base's directory, the port, then adapters as {@code name=directory}
   * @throws IOException if the port is taken
   */
  public static void main(String[] arguments) throws IOException {
    if (arguments.length < 2) {
      System.err.println("usage: AdapterService BASE_DIRECTORY PORT [NAME=ADAPTER_DIRECTORY]...");
      System.exit(2);
    }
    Path directory = Path.of(arguments[0]);
    PretrainedModel base = PretrainedModel.load(directory);
    PeftModel model = Peft.open(base);
    for (String adapter : List.of(arguments).subList(2, arguments.length)) {
      String[] parts = adapter.split("=", 2);
      model.loadAdapter(parts[0], Path.of(parts[parts.length - 1]));
    }
    AdapterService service =
        new AdapterService(
            model, Tokenizer.load(directory), labels(base), Integer.parseInt(arguments[1]));
    System.out.println("serving " + model.adapterNames() + " on port " + service.port());
  }

  private static List<String> labels(PretrainedModel base) {
    JsonNode names = base.config().path("id2label");
    return names.properties().stream().map(entry -> entry.getValue().asText()).toList();
  }

  /**
   * The port it listens on.
   *
   * @return the port
   */
  public int port() {
    return server.getAddress().getPort();
  }

  private Object classify(HttpExchange exchange) throws IOException {
    require(exchange, "POST");
    ObjectNode request = body(exchange);
    String text = text(request, "text");
    // The adapter is part of the request: any number of threads share the one base.
    String[] adapters =
        request.hasNonNull("adapter") ? new String[] {text(request, "adapter")} : new String[0];
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList inputs = tokenizer.encode(manager, List.of(text), LONGEST);
      NDArray scores = model.with(adapters).forward(inputs).head().softmax(1);
      float[] values = scores.toFloatArray();
      ObjectNode answer = Json.mapper().createObjectNode();
      int best = 0;
      for (int i = 1; i < values.length; i++) {
        best = values[i] > values[best] ? i : best;
      }
      answer.put("label", labels.get(best));
      ObjectNode all = answer.putObject("scores");
      for (int i = 0; i < values.length; i++) {
        all.put(labels.get(i), values[i]);
      }
      return answer;
    }
  }

  private Object adapters(HttpExchange exchange) throws IOException {
    String name = exchange.getRequestURI().getPath().replaceFirst("^/adapters/?", "");
    switch (exchange.getRequestMethod()) {
      case "PUT" -> model.loadAdapter(name, Path.of(text(body(exchange), "directory")));
      case "DELETE" -> model.deleteAdapter(name);
      default -> require(exchange, "GET");
    }
    return model.adapterNames();
  }

  private static void require(HttpExchange exchange, String method) {
    if (!exchange.getRequestMethod().equals(method)) {
      throw new AdapterStateException("use " + method);
    }
  }

  private static ObjectNode body(HttpExchange exchange) throws IOException {
    byte[] bytes = exchange.getRequestBody().readNBytes(LARGEST_REQUEST);
    JsonNode json = Json.parse(new String(bytes, StandardCharsets.UTF_8), "the request");
    if (json instanceof ObjectNode object) {
      return object;
    }
    throw new AdapterStateException("the request must be a JSON object");
  }

  private static String text(ObjectNode request, String key) {
    if (!request.path(key).isTextual()) {
      throw new AdapterStateException("the request needs the text '" + key + "'");
    }
    return request.get(key).textValue();
  }

  /** Makes the answer to a request. */
  private interface Handler {
    Object answer(HttpExchange exchange) throws IOException;
  }

  private static void answer(HttpExchange exchange, Handler handler) throws IOException {
    int status = 200;
    Object answer;
    try {
      answer = handler.answer(exchange);
    } catch (PeftException e) {
      status = 400;
      answer = Json.mapper().createObjectNode().put("error", e.getMessage());
    }
    byte[] bytes = Json.mapper().writeValueAsBytes(answer);
    exchange.getResponseHeaders().set("Content-Type", "application/json");
    exchange.sendResponseHeaders(status, bytes.length);
    exchange.getResponseBody().write(bytes);
    exchange.close();
  }

  @Override
  public void close() {
    server.stop(1);
    threads.shutdown();
  }
}
