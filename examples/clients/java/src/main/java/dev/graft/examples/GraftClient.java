package dev.graft.examples;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import graft.v1.Job.GraftJob;
import graft.v1.Job.JobStatus;
import graft.v1.JobServiceOuterClass.ResultFile;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** Submits a job to graft, watches it to its end and fetches its result. */
public final class GraftClient {
  // Exit codes, as those of the program graft.
  private static final int REFUSED = 2;
  private static final int NOT_POSSIBLE = 3;
  private static final int JOB_FAILED = 4;
  private static final int NO_SERVER = 6;
  private static final int NO_RESULT = 7;

  private static final String USAGE =
      """
      usage: graft-client [--server HOST:PORT] [--plaintext] [--ca FILE] [--token-file FILE]
                          [--job FILE] [--name NAME] [--dataset S3URL] [--backbone NAME] [--steps N]
                          [--request-id UUID] [--out DIR]
        --server HOST:PORT  the coordinator (default: 127.0.0.1:7070)
        --plaintext         no TLS: for a server on this machine
        --ca FILE           PEM file of the authority that signed the server's certificate
        --token-file FILE   file with the bearer token
        --job FILE          GraftJob in JSON; the flags below override it
        --name NAME         of the job
        --dataset S3URL     s3://bucket/prefix/ with a folder for each class
        --backbone NAME     pretrained network
        --steps N           length of the training
        --request-id UUID   the same id makes no second job
        --out DIR           where the result goes (default: result)""";

  public static void main(String[] args) throws InterruptedException {
    int exitCode;
    try {
      exitCode = run(flagsFrom(args));
    } catch (StatusRuntimeException error) {
      printError(error);
      exitCode = exitCodeOf(error.getStatus().getCode());
    } catch (Download.Failure error) {
      System.err.println(error.getMessage());
      exitCode = NO_RESULT;
    } catch (IOException | IllegalArgumentException error) { // a flag, or a file that it names
      System.err.println(error.getMessage());
      exitCode = REFUSED;
    }
    System.exit(exitCode);
  }

  private static int run(Map<String, String> flags) throws IOException, InterruptedException {
    String token = flags.containsKey("token-file") ? Files.readString(Path.of(flags.get("token-file"))).strip() : null;
    String requestId = flags.getOrDefault("request-id", UUID.randomUUID().toString());
    Path folder = Path.of(flags.getOrDefault("out", "result"));
    GraftJob job = jobFrom(flags);
    ManagedChannel channel = channelTo(flags);
    try {
      JobService service = new JobService(channel, token);

      // 1. Submit.
      job = service.submit(job, requestId);
      String uid = job.getMetadata().getUid();
      System.out.printf("submitted %s (%s), request id %s%n", job.getMetadata().getName(), uid, requestId);

      // 2. Watch.
      job = service.watch(uid, changed -> System.out.println(progressOf(changed.getStatus())));
      if (job.getStatus().getPhase() != JobStatus.Phase.COMPLETE) {
        var failure = job.getStatus().getFailure();
        System.err.printf("the job ended without a result: %s %s%n", failure.getCode(), failure.getMessage());
        return JOB_FAILED;
      }

      // 3. Fetch.
      var result = service.result(uid);
      for (ResultFile file : result.getFilesList()) {
        Download.download(service, uid, file, folder);
        System.out.printf("fetched %s %d %s%n", file.getPath(), file.getBytes(), file.getSha256());
      }
      var summary = result.getSummary();
      System.out.printf("test accuracy %.3f, weights %s%n", summary.getTestAccuracy(), summary.getWeightsSha256());
      return 0;
    } finally {
      channel.shutdownNow();
    }
  }

  private static Map<String, String> flagsFrom(String[] args) {
    Map<String, String> flags = new HashMap<>();
    for (int i = 0; i < args.length; i++) {
      String name = args[i].replaceFirst("^--", "");
      if (name.equals(args[i]) || !USAGE.contains("\n  --" + name + " ")) {
        throw new IllegalArgumentException("there is no flag " + args[i] + "\n" + USAGE);
      }
      if (name.equals("plaintext")) {
        flags.put(name, "");
      } else if (i + 1 < args.length) {
        flags.put(name, args[++i]);
      } else {
        throw new IllegalArgumentException(args[i] + " needs a value\n" + USAGE);
      }
    }
    return flags;
  }

  /** A job from a file in proto's JSON mapping, where one is given, and the flags. */
  private static GraftJob jobFrom(Map<String, String> flags) throws IOException {
    GraftJob.Builder job = GraftJob.newBuilder();
    if (flags.containsKey("job")) {
      try {
        JsonFormat.parser().merge(Files.readString(Path.of(flags.get("job"))), job);
      } catch (InvalidProtocolBufferException error) {
        throw new IllegalArgumentException(flags.get("job") + ": " + error.getMessage(), error);
      }
    }
    if (flags.containsKey("name")) {
      job.getMetadataBuilder().setName(flags.get("name"));
    }
    if (flags.containsKey("dataset")) {
      job.getSpecBuilder().getDatasetBuilder().setSource(flags.get("dataset"));
    }
    if (flags.containsKey("backbone")) {
      job.getSpecBuilder().getBackboneBuilder().setName(flags.get("backbone"));
    }
    if (flags.containsKey("steps")) {
      job.getSpecBuilder().getTrainingBuilder().setSteps(Integer.parseInt(flags.get("steps")));
    }
    return job.build();
  }

  private static ManagedChannel channelTo(Map<String, String> flags) throws IOException {
    ChannelCredentials credentials = TlsChannelCredentials.create();
    if (flags.containsKey("plaintext")) {
      credentials = InsecureChannelCredentials.create();
    } else if (flags.containsKey("ca")) {
      credentials = TlsChannelCredentials.newBuilder().trustManager(new File(flags.get("ca"))).build();
    }
    return Grpc.newChannelBuilder(flags.getOrDefault("server", "127.0.0.1:7070"), credentials)
        // A server that is silently gone is noticed.
        .keepAliveTime(30, TimeUnit.SECONDS)
        .keepAliveTimeout(10, TimeUnit.SECONDS)
        .maxInboundMessageSize(16 << 20)
        .build();
  }

  private static String progressOf(JobStatus status) {
    StringBuilder text = new StringBuilder(status.getPhase().name());
    var progress = status.getProgress();
    if (progress.getPictures() > 0) {
      text.append(", %d of %d pictures".formatted(progress.getExtracted(), progress.getPictures()));
    }
    if (progress.getSteps() > 0) {
      text.append(", step %d of %d".formatted(progress.getStep(), progress.getSteps()));
    }
    return text.toString();
  }

  /** The message, graft's code for it (docs/errors.md), and what is wrong with each field. */
  private static void printError(StatusRuntimeException error) {
    System.err.printf("%s: %s%n", error.getStatus().getCode(), error.getStatus().getDescription());
    var rich = StatusProto.fromThrowable(error); // from the trailer grpc-status-details-bin
    if (rich == null) {
      return;
    }
    try {
      for (Any detail : rich.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          System.err.println("code: " + detail.unpack(ErrorInfo.class).getReason());
        } else if (detail.is(BadRequest.class)) {
          for (var violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
            System.err.printf("  %s: %s%n", violation.getField(), violation.getDescription());
          }
        }
      }
    } catch (InvalidProtocolBufferException unreadable) {
      System.err.println("the details of this error cannot be read: " + unreadable.getMessage());
    }
  }

  private static int exitCodeOf(Status.Code code) {
    return switch (code) {
      case INVALID_ARGUMENT -> REFUSED;
      case UNAVAILABLE, DEADLINE_EXCEEDED, UNAUTHENTICATED, PERMISSION_DENIED -> NO_SERVER;
      default -> NOT_POSSIBLE;
    };
  }

  private GraftClient() {}
}
