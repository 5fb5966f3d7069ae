package dev.graft.examples;

import graft.v1.JobServiceOuterClass.ResultFile;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** Files of a result. */
final class Download {
  private static final HttpClient HTTP = HttpClient.newBuilder().connectTimeout(JobService.CALL).build();

  /** A file that cannot be had, or is not what the server said. */
  static final class Failure extends IOException {
    Failure(String message, Throwable cause) {
      super(message, cause);
    }
  }

  /** Writes the file under `folder`: the whole of it, with the length and digest that the server named, or nothing. */
  static void download(JobService service, String uid, ResultFile file, Path folder) throws Failure, InterruptedException {
    try {
      Path target = folder.resolve(file.getPath()).normalize();
      if (!target.startsWith(folder.normalize())) {
        throw new IOException("lies outside of the result");
      }
      Files.createDirectories(target.toAbsolutePath().getParent());
      Path partial = Files.createTempFile(target.toAbsolutePath().getParent(), ".partial-", "");
      try {
        write(service, uid, file, partial);
        Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE);
      } finally {
        Files.deleteIfExists(partial);
      }
    } catch (IOException error) {
      throw new Failure(file.getPath() + ": " + error.getMessage(), error);
    }
  }

  private static void write(JobService service, String uid, ResultFile file, Path partial) throws IOException, InterruptedException {
    MessageDigest digest = sha256();
    try (OutputStream into = new DigestOutputStream(Files.newOutputStream(partial), digest)) {
      if (file.getUrl().isEmpty()) {
        service.readFile(uid, file.getPath(), into);
      } else {
        readUrl(file.getUrl(), into);
      }
    }
    long length = Files.size(partial);
    String found = HexFormat.of().formatHex(digest.digest());
    if (length != file.getBytes() || !found.equals(file.getSha256())) {
      throw new IOException(
          "expected %d bytes with SHA-256 %s, got %d with %s".formatted(file.getBytes(), file.getSha256(), length, found));
    }
  }

  private static void readUrl(String url, OutputStream into) throws IOException, InterruptedException {
    var request = HttpRequest.newBuilder(URI.create(url)).timeout(JobService.CALL).build();
    var response = HTTP.send(request, BodyHandlers.ofInputStream());
    try (InputStream body = response.body()) {
      if (response.statusCode() != 200) {
        throw new IOException("the store answered " + response.statusCode());
      }
      body.transferTo(into);
    }
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException impossible) {
      throw new AssertionError(impossible); // every Java has it
    }
  }

  private Download() {}
}
