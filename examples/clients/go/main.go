// Command graft-client submits a job to graft, watches it to its end and fetches its result.
//
// The package in gen/ is generated from proto/; README.md says how.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	graft "example.org/graft-client/gen/graft/v1"
)

// Exit codes, as those of the program graft.
const (
	refused     = 2
	notPossible = 3
	jobFailed   = 4
	noServer    = 6
	noResult    = 7
)

type settings struct {
	server, ca, tokenFile string
	plaintext             bool
	job, name             string
	dataset, backbone     string
	steps                 int
	requestID, out        string
}

func main() {
	var s settings
	flag.StringVar(&s.server, "server", "127.0.0.1:7070", "`HOST:PORT` of the coordinator")
	flag.BoolVar(&s.plaintext, "plaintext", false, "no TLS: for a server on this machine")
	flag.StringVar(&s.ca, "ca", "", "PEM `FILE` of the authority that signed the server's certificate")
	flag.StringVar(&s.tokenFile, "token-file", "", "`FILE` with the bearer token")
	flag.StringVar(&s.job, "job", "", "`FILE` with a GraftJob in JSON; the flags below override it")
	flag.StringVar(&s.name, "name", "", "of the job")
	flag.StringVar(&s.dataset, "dataset", "", "`S3URL`: s3://bucket/prefix/ with a folder for each class")
	flag.StringVar(&s.backbone, "backbone", "", "`NAME` of the pretrained network")
	flag.IntVar(&s.steps, "steps", 0, "length of the training")
	flag.StringVar(&s.requestID, "request-id", newUUID(), "`UUID`; the same one makes no second job")
	flag.StringVar(&s.out, "out", "result", "`FOLDER` for the result")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, s)
	stop()
	if err != nil {
		printError(os.Stderr, err)
		os.Exit(exitCode(err))
	}
}

func run(ctx context.Context, s settings) error {
	job, err := jobFrom(s)
	if err != nil {
		return usageError{err}
	}
	connection, err := connect(s)
	if err != nil {
		return usageError{err}
	}
	defer connection.Close()
	if s.tokenFile != "" {
		token, err := os.ReadFile(s.tokenFile)
		if err != nil {
			return usageError{err}
		}
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	client := &client{jobs: graft.NewJobServiceClient(connection), log: os.Stderr}

	// 1. Submit.
	job, err = client.submit(ctx, job, s.requestID)
	if err != nil {
		return err
	}
	uid := job.GetMetadata().GetUid()
	fmt.Printf("submitted %s (%s), request id %s\n", job.GetMetadata().GetName(), uid, s.requestID)

	// 2. Watch.
	job, err = client.watch(ctx, uid, func(job *graft.GraftJob) { fmt.Println(progressOf(job.GetStatus())) })
	if err != nil {
		return err
	}
	if job.GetStatus().GetPhase() != graft.JobStatus_COMPLETE {
		return jobError{job.GetStatus().GetFailure()}
	}

	// 3. Fetch.
	result, err := client.result(ctx, uid)
	if err != nil {
		return err
	}
	for _, file := range result.GetFiles() {
		if err := client.download(ctx, uid, file, s.out); err != nil {
			return downloadError{file.GetPath(), err}
		}
		fmt.Printf("fetched %s %d %s\n", file.GetPath(), file.GetBytes(), file.GetSha256())
	}
	summary := result.GetSummary()
	fmt.Printf("test accuracy %.3f, weights %s\n", summary.GetTestAccuracy(), summary.GetWeightsSha256())
	return nil
}

// jobFrom makes a job from a file in proto's JSON mapping, where one is given, and the flags.
func jobFrom(s settings) (*graft.GraftJob, error) {
	job := &graft.GraftJob{}
	if s.job != "" {
		text, err := os.ReadFile(s.job)
		if err != nil {
			return nil, err
		}
		if err := protojson.Unmarshal(text, job); err != nil {
			return nil, fmt.Errorf("%s: %w", s.job, err)
		}
	}
	given := &graft.GraftJob{
		Metadata: &graft.ObjectMeta{Name: unlessEmpty(s.name)},
		Spec: &graft.JobSpec{
			Dataset:  &graft.DatasetSpec{Source: unlessEmpty(s.dataset)},
			Backbone: &graft.BackboneSpec{Name: unlessEmpty(s.backbone)},
		},
	}
	if s.steps != 0 {
		given.Spec.Training = &graft.TrainingSpec{Length: &graft.TrainingSpec_Steps{Steps: int32(s.steps)}}
	}
	proto.Merge(job, given)
	return job, nil
}

// unlessEmpty leaves a field out for which no flag was given.
func unlessEmpty(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func connect(s settings) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if !s.plaintext {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if s.ca != "" {
			pem, err := os.ReadFile(s.ca)
			if err != nil {
				return nil, err
			}
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("%s: holds no certificate in PEM", s.ca)
			}
		}
		transport = credentials.NewTLS(config)
	}
	return grpc.NewClient(s.server,
		grpc.WithTransportCredentials(transport),
		// A server that comes back is noticed soon, one that is silently gone too.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstDelay, Multiplier: 2, Jitter: 0.2, MaxDelay: longestDelay},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
	)
}

func progressOf(s *graft.JobStatus) string {
	text := s.GetPhase().String()
	progress := s.GetProgress()
	if progress.GetPictures() > 0 {
		text += fmt.Sprintf(", %d of %d pictures", progress.GetExtracted(), progress.GetPictures())
	}
	if progress.GetSteps() > 0 {
		text += fmt.Sprintf(", step %d of %d", progress.GetStep(), progress.GetSteps())
	}
	return text
}

type usageError struct{ error }

type jobError struct{ failure *graft.Failure }

func (e jobError) Error() string {
	return fmt.Sprintf("the job ended without a result: %s %s", e.failure.GetCode(), e.failure.GetMessage())
}

type downloadError struct {
	path  string
	cause error
}

func (e downloadError) Error() string { return fmt.Sprintf("%s: %v", e.path, e.cause) }

// printError prints the message, graft's code for it (docs/errors.md), and what is wrong with each field.
func printError(out io.Writer, err error) {
	found, isStatus := status.FromError(err)
	if !isStatus {
		fmt.Fprintln(out, err)
		return
	}
	fmt.Fprintf(out, "%s: %s\n", found.Code(), found.Message())
	for _, detail := range found.Details() { // from the trailer grpc-status-details-bin
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Fprintf(out, "code: %s\n", detail.GetReason())
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				fmt.Fprintf(out, "  %s: %s\n", violation.GetField(), violation.GetDescription())
			}
		}
	}
}

func exitCode(err error) int {
	var usage usageError
	var job jobError
	var file downloadError
	switch {
	case errors.As(err, &usage):
		return refused
	case errors.As(err, &job):
		return jobFailed
	case errors.As(err, &file):
		return noResult
	case errors.Is(err, context.Canceled), status.Code(err) == codes.Canceled:
		return 130
	}
	switch status.Code(err) {
	case codes.InvalidArgument:
		return refused
	case codes.Unavailable, codes.DeadlineExceeded, codes.Unauthenticated, codes.PermissionDenied:
		return noServer
	default:
		return notPossible
	}
}
