package dev.graft.examples;

import com.google.protobuf.Message;
import graft.v1.Job.GraftJob;
import graft.v1.Job.JobStatus;
import graft.v1.JobServiceOuterClass;
import graft.v1.JobServiceOuterClass.GetResultRequest;
import graft.v1.JobServiceOuterClass.GetResultResponse;
import graft.v1.JobServiceOuterClass.JobReference;
import graft.v1.JobServiceOuterClass.ReadResultFileRequest;
import graft.v1.JobServiceOuterClass.ReadResultFileResponse;
import graft.v1.JobServiceOuterClass.SubmitJobRequest;
import graft.v1.JobServiceOuterClass.SubmitJobResponse;
import graft.v1.JobServiceOuterClass.WatchJobRequest;
import graft.v1.JobServiceOuterClass.WatchJobResponse;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.io.OutputStream;
import java.time.Duration;
import java.util.Iterator;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/** graft.v1.JobService over one channel, with the tries that it may need: each of its calls may be repeated. */
final class JobService {
  /** A call without an answer has failed after this. */
  static final Duration CALL = Duration.ofSeconds(30);
  /** A watch is opened anew after this, so that no stream lives for ever. */
  private static final Duration WATCH = Duration.ofHours(1);
  /** One file of a result, read through the server. */
  private static final Duration READ = Duration.ofMinutes(30);
  /** How long to go on trying: briefly for a call, for a watch longer than a server takes to come back on another machine. */
  private static final Duration CALL_PATIENCE = Duration.ofSeconds(15);
  private static final Duration WATCH_PATIENCE = Duration.ofMinutes(5);
  /** Between two tries: doubled each time, up to the longest. */
  private static final Duration FIRST_DELAY = Duration.ofMillis(250);
  private static final Duration LONGEST_DELAY = Duration.ofSeconds(8);

  private static final Set<JobStatus.Phase> ENDED =
      Set.of(JobStatus.Phase.COMPLETE, JobStatus.Phase.FAILED, JobStatus.Phase.CANCELLED);

  private static final MethodDescriptor<SubmitJobRequest, SubmitJobResponse> SUBMIT_JOB =
      method("SubmitJob", SubmitJobRequest.getDefaultInstance(), SubmitJobResponse.getDefaultInstance());
  private static final MethodDescriptor<WatchJobRequest, WatchJobResponse> WATCH_JOB =
      method("WatchJob", WatchJobRequest.getDefaultInstance(), WatchJobResponse.getDefaultInstance());
  private static final MethodDescriptor<GetResultRequest, GetResultResponse> GET_RESULT =
      method("GetResult", GetResultRequest.getDefaultInstance(), GetResultResponse.getDefaultInstance());
  private static final MethodDescriptor<ReadResultFileRequest, ReadResultFileResponse> READ_RESULT_FILE =
      method("ReadResultFile", ReadResultFileRequest.getDefaultInstance(), ReadResultFileResponse.getDefaultInstance());

  private final ManagedChannel connection;
  private final Channel channel;

  JobService(ManagedChannel connection, String token) {
    Metadata headers = new Metadata();
    if (token != null) {
      headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    }
    this.connection = connection;
    this.channel = ClientInterceptors.intercept(connection, MetadataUtils.newAttachHeadersInterceptor(headers));
  }

  /** Hands over the job. With the same request id it is the same job, however often it is submitted. */
  GraftJob submit(GraftJob job, String requestId) throws InterruptedException {
    return call(SUBMIT_JOB, SubmitJobRequest.newBuilder().setRequestId(requestId).setJob(job).build()).getJob();
  }

  /** Where the files of a complete job can be read for a while, with their lengths and digests. */
  GetResultResponse result(String uid) throws InterruptedException {
    return call(GET_RESULT, GetResultRequest.newBuilder().setJob(JobReference.newBuilder().setName(uid)).build());
  }

  /**
   * Gives the job as it is now, then each change, until its end, and returns it as it was then. After a lost connection it goes on
   * where it was.
   */
  GraftJob watch(String uid, Consumer<GraftJob> onChange) throws InterruptedException {
    String seen = "";
    Tries tries = new Tries(WATCH_PATIENCE);
    while (true) {
      WatchJobRequest request =
          WatchJobRequest.newBuilder().setJob(JobReference.newBuilder().setName(uid)).setResourceVersion(seen).build();
      StatusRuntimeException lost = Status.UNAVAILABLE.withDescription("the watch ended before the job").asRuntimeException();
      try {
        Iterator<WatchJobResponse> states = ClientCalls.blockingServerStreamingCall(channel, WATCH_JOB, within(WATCH), request);
        while (states.hasNext()) {
          GraftJob job = states.next().getJob();
          seen = job.getMetadata().getResourceVersion();
          tries.reset();
          onChange.accept(job);
          if (ENDED.contains(job.getStatus().getPhase())) {
            return job;
          }
        }
      } catch (StatusRuntimeException error) {
        lost = error;
      }
      tries.await(lost);
    }
  }

  /** Writes the bytes of a file of a result that has no url. After a lost connection it goes on where it was. */
  void readFile(String uid, String path, OutputStream into) throws IOException, InterruptedException {
    long offset = 0;
    Tries tries = new Tries(CALL_PATIENCE);
    while (true) {
      ReadResultFileRequest request =
          ReadResultFileRequest.newBuilder().setJob(JobReference.newBuilder().setName(uid)).setPath(path).setOffset(offset).build();
      try {
        Iterator<ReadResultFileResponse> pieces =
            ClientCalls.blockingServerStreamingCall(channel, READ_RESULT_FILE, within(READ), request);
        while (pieces.hasNext()) {
          var data = pieces.next().getData();
          data.writeTo(into);
          offset += data.size();
          tries.reset();
        }
        return;
      } catch (StatusRuntimeException error) {
        tries.await(error);
      }
    }
  }

  private <Q, A> A call(MethodDescriptor<Q, A> method, Q request) throws InterruptedException {
    Tries tries = new Tries(CALL_PATIENCE);
    while (true) {
      try {
        return ClientCalls.blockingUnaryCall(channel, method, within(CALL), request);
      } catch (StatusRuntimeException error) {
        tries.await(error);
      }
    }
  }

  private static CallOptions within(Duration time) {
    return CallOptions.DEFAULT.withDeadlineAfter(time.toMillis(), TimeUnit.MILLISECONDS);
  }

  /** A call of the service as protoc describes it. */
  private static <Q extends Message, A extends Message> MethodDescriptor<Q, A> method(String name, Q request, A answer) {
    var service = JobServiceOuterClass.getDescriptor().findServiceByName("JobService");
    boolean isStream = service.findMethodByName(name).isServerStreaming();
    return MethodDescriptor.<Q, A>newBuilder()
        .setType(isStream ? MethodDescriptor.MethodType.SERVER_STREAMING : MethodDescriptor.MethodType.UNARY)
        .setFullMethodName(MethodDescriptor.generateFullMethodName(service.getFullName(), name))
        .setRequestMarshaller(ProtoUtils.marshaller(request))
        .setResponseMarshaller(ProtoUtils.marshaller(answer))
        .build();
  }

  /** Waits longer each time, until its patience has passed since the last success. */
  private final class Tries {
    private final Duration patience;
    private long delayMs;
    private long untilNanos;

    Tries(Duration patience) {
      this.patience = patience;
      reset();
    }

    void reset() {
      delayMs = FIRST_DELAY.toMillis();
      untilNanos = System.nanoTime() + patience.toNanos();
    }

    /** Sleeps before the next try; throws `error` if there shall be none. */
    void await(StatusRuntimeException error) throws InterruptedException {
      Status status = error.getStatus();
      // The call may not have reached the server, or its answer not us.
      boolean isPassing = Set.of(Status.Code.UNAVAILABLE, Status.Code.DEADLINE_EXCEEDED).contains(status.getCode());
      if (!isPassing || System.nanoTime() - untilNanos > 0) {
        throw error;
      }
      long waitMs = ThreadLocalRandom.current().nextLong(delayMs / 2, delayMs); // not all clients at the same moment
      System.err.printf(
          "connection lost (%s: %s); trying again in %.1f s%n", status.getCode(), status.getDescription(), waitMs / 1000.0);
      Thread.sleep(waitMs);
      delayMs = Math.min(2 * delayMs, LONGEST_DELAY.toMillis());
      connection.resetConnectBackoff(); // these waits, not gRPC's own beside them
    }
  }
}
