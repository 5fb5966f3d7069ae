"""A client of graft in Python: submits a job, watches it to its end, fetches its result.

The modules under graft/ are generated from proto/; README.md says how.
"""

import argparse
import hashlib
import os
import pathlib
import random
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from graft.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc

# A call without an answer has failed after this.
CALL_SECONDS = 30
# A watch is opened anew after this, so that no stream lives for ever.
WATCH_SECONDS = 3600
# One file of a result, read through the server.
READ_SECONDS = 1800
# How long to go on trying: briefly for a call, for a watch longer than a server takes to come back on another machine.
CALL_PATIENCE_SECONDS = 15
WATCH_PATIENCE_SECONDS = 300
# Between two tries: doubled each time, up to the longest.
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 8

# The call may not have reached the server, or its answer not us: try again. Every call of JobService may be repeated.
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
UNREACHABLE = PASSING | {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}

Phase = job_pb2.JobStatus.Phase
ENDED = {Phase.COMPLETE, Phase.FAILED, Phase.CANCELLED}

# Exit codes, as those of the program graft.
REFUSED, NOT_POSSIBLE, JOB_FAILED, NO_SERVER, NO_RESULT = 2, 3, 4, 6, 7


class DownloadError(Exception):
    """A file that cannot be had, or is not what the server said."""


class Backoff:
    """Waits between tries, longer each time, until `patience` seconds have passed since the last success."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.reset()

    def reset(self) -> None:
        self._delay = FIRST_DELAY_SECONDS
        self._until = time.monotonic() + self._patience

    def wait(self, error: grpc.RpcError | None) -> None:
        """Sleeps before the next try; raises `error` if there shall be none. None: the server ended a stream too early."""
        if error is not None and (error.code() not in PASSING or time.monotonic() > self._until):
            raise error
        delay = random.uniform(self._delay / 2, self._delay)  # not all clients at the same moment
        reason = "the watch ended before the job" if error is None else f"{error.code().name}: {error.details()}"
        print(f"connection lost ({reason}); trying again in {delay:.1f} s", file=sys.stderr, flush=True)
        time.sleep(delay)
        self._delay = min(2 * self._delay, LONGEST_DELAY_SECONDS)


class GraftClient:
    """graft.v1.JobService over one channel."""

    def __init__(self, channel: grpc.Channel, token: str | None) -> None:
        self._jobs = job_service_pb2_grpc.JobServiceStub(channel)
        self._metadata = [("authorization", f"Bearer {token}")] if token else []

    def submit(self, job: job_pb2.GraftJob, request_id: str) -> job_pb2.GraftJob:
        """Hands over the job. With the same request id it is the same job, however often it is submitted."""
        request = job_service_pb2.SubmitJobRequest(request_id=request_id, job=job)
        return self._call(self._jobs.SubmitJob, request).job

    def watch(self, uid: str) -> Iterator[job_pb2.GraftJob]:
        """The job as it is now, then each change, until its end. Goes on after a lost connection where it was."""
        seen = ""
        backoff = Backoff(WATCH_PATIENCE_SECONDS)
        while True:
            lost = None
            request = job_service_pb2.WatchJobRequest(job={"name": uid}, resource_version=seen)
            try:
                for response in self._jobs.WatchJob(request, timeout=WATCH_SECONDS, metadata=self._metadata):
                    seen = response.job.metadata.resource_version
                    backoff.reset()
                    yield response.job
                    if response.job.status.phase in ENDED:
                        return
            except grpc.RpcError as error:
                lost = error
            backoff.wait(lost)

    def result(self, uid: str) -> job_service_pb2.GetResultResponse:
        """Where the files of a complete job can be read for a while, with their lengths and digests."""
        return self._call(self._jobs.GetResult, job_service_pb2.GetResultRequest(job={"name": uid}))

    def read_file(self, uid: str, path: str) -> Iterator[bytes]:
        """The bytes of a file of a result that has no url. Goes on after a lost connection where it was."""
        offset = 0
        backoff = Backoff(CALL_PATIENCE_SECONDS)
        while True:
            request = job_service_pb2.ReadResultFileRequest(job={"name": uid}, path=path, offset=offset)
            try:
                for response in self._jobs.ReadResultFile(request, timeout=READ_SECONDS, metadata=self._metadata):
                    offset += len(response.data)
                    backoff.reset()
                    yield response.data
                return
            except grpc.RpcError as error:
                backoff.wait(error)

    def _call(self, method, request):
        backoff = Backoff(CALL_PATIENCE_SECONDS)
        while True:
            try:
                return method(request, timeout=CALL_SECONDS, metadata=self._metadata)
            except grpc.RpcError as error:
                backoff.wait(error)


def download(client: GraftClient, uid: str, file: job_service_pb2.ResultFile, folder: pathlib.Path) -> None:
    """Writes the file under `folder`: the whole of it, with the length and digest that the server named, or nothing."""
    path = pathlib.PurePosixPath(file.path)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise DownloadError(f"{file.path}: lies outside of the result")
    target = folder / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as scratch:
            partial = pathlib.Path(scratch) / target.name
            length, sha256 = read_into(partial, chunks_of(file.url) if file.url else client.read_file(uid, file.path))
            if (length, sha256) != (file.bytes, file.sha256):
                raise DownloadError(
                    f"{file.path}: expected {file.bytes} bytes with SHA-256 {file.sha256}, got {length} with {sha256}"
                )
            os.replace(partial, target)
    except OSError as error:
        raise DownloadError(f"{file.path}: {error}") from error


def chunks_of(url: str) -> Iterator[bytes]:
    with urllib.request.urlopen(url, timeout=CALL_SECONDS) as body:
        while chunk := body.read(1 << 20):
            yield chunk


def read_into(target: pathlib.Path, chunks: Iterator[bytes]) -> tuple[int, str]:
    """Length and SHA-256 of what came."""
    digest, length = hashlib.sha256(), 0
    with target.open("wb") as out:
        for chunk in chunks:
            out.write(chunk)
            digest.update(chunk)
            length += len(chunk)
    return length, digest.hexdigest()


def print_error(error: grpc.RpcError) -> None:
    """The message, graft's code for it (docs/errors.md), and what is wrong with each field."""
    print(f"{error.code().name}: {error.details()}", file=sys.stderr)
    rich = rpc_status.from_call(error)  # from the trailer grpc-status-details-bin
    for detail in rich.details if rich is not None else []:
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            print(f"code: {info.reason}", file=sys.stderr)
        elif detail.Unpack(bad_request):
            for violation in bad_request.field_violations:
                print(f"  {violation.field}: {violation.description}", file=sys.stderr)


def open_channel(server: str, ca: str | None, plaintext: bool) -> grpc.Channel:
    options = [
        # A server that comes back is noticed soon, one that is silently gone too.
        ("grpc.initial_reconnect_backoff_ms", 250),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.max_receive_message_length", 16 << 20),
    ]
    if plaintext:
        return grpc.insecure_channel(server, options)
    authorities = pathlib.Path(ca).read_bytes() if ca else None
    return grpc.secure_channel(server, grpc.ssl_channel_credentials(authorities), options)


def job_from(flags: argparse.Namespace) -> job_pb2.GraftJob:
    """A job from a file in proto's JSON mapping, where one is given, and the flags."""
    job = job_pb2.GraftJob()
    if flags.job:
        json_format.Parse(pathlib.Path(flags.job).read_text(encoding="utf-8"), job)
    if flags.name:
        job.metadata.name = flags.name
    if flags.dataset:
        job.spec.dataset.source = flags.dataset
    if flags.backbone:
        job.spec.backbone.name = flags.backbone
    if flags.steps:
        job.spec.training.steps = flags.steps
    return job


def progress_of(status: job_pb2.JobStatus) -> str:
    progress = status.progress
    pictures = f", {progress.extracted} of {progress.pictures} pictures" if progress.pictures else ""
    steps = f", step {progress.step} of {progress.steps}" if progress.steps else ""
    return f"{Phase.Name(status.phase)}{pictures}{steps}"


def run(flags: argparse.Namespace) -> int:
    token = pathlib.Path(flags.token_file).read_text(encoding="utf-8").strip() if flags.token_file else None
    with open_channel(flags.server, flags.ca, flags.plaintext) as channel:
        client = GraftClient(channel, token)

        # 1. Submit.
        submitted = client.submit(job_from(flags), flags.request_id)
        uid = submitted.metadata.uid
        print(f"submitted {submitted.metadata.name} ({uid}), request id {flags.request_id}", flush=True)

        # 2. Watch.
        job = submitted
        for job in client.watch(uid):
            print(progress_of(job.status), flush=True)
        if job.status.phase != Phase.COMPLETE:
            failure = job.status.failure
            print(f"the job ended without a result: {failure.code} {failure.message}", file=sys.stderr)
            return JOB_FAILED

        # 3. Fetch.
        result = client.result(uid)
        for file in result.files:
            download(client, uid, file, pathlib.Path(flags.out))
            print(f"fetched {file.path} {file.bytes} {file.sha256}", flush=True)
        print(f"test accuracy {result.summary.test_accuracy:.3f}, weights {result.summary.weights_sha256}")
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Submits a job to graft, watches it, fetches its result.")
    parser.add_argument("--server", default="127.0.0.1:7070", metavar="HOST:PORT")
    parser.add_argument("--plaintext", action="store_true", help="no TLS: for a server on this machine")
    parser.add_argument("--ca", metavar="FILE", help="PEM file of the authority that signed the server's certificate")
    parser.add_argument("--token-file", metavar="FILE", help="file with the bearer token")
    parser.add_argument("--job", metavar="FILE", help="GraftJob in JSON; the flags below override it")
    parser.add_argument("--name", help="of the job")
    parser.add_argument("--dataset", metavar="S3URL", help="s3://bucket/prefix/ with a folder for each class")
    parser.add_argument("--backbone", metavar="NAME")
    parser.add_argument("--steps", type=int, metavar="N")
    parser.add_argument("--request-id", metavar="UUID", default=str(uuid.uuid4()), help="the same id makes no second job")
    parser.add_argument("--out", default="result", metavar="DIR", help="where the result goes (default: %(default)s)")
    flags = parser.parse_args()
    try:
        return run(flags)
    except grpc.RpcError as error:
        print_error(error)
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            return REFUSED
        return NO_SERVER if error.code() in UNREACHABLE else NOT_POSSIBLE
    except DownloadError as error:
        print(error, file=sys.stderr)
        return NO_RESULT
    except (OSError, json_format.ParseError) as error:  # a file that a flag names
        print(error, file=sys.stderr)
        return REFUSED


if __name__ == "__main__":
    sys.exit(main())
