package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	graft "example.org/graft-client/gen/graft/v1"
)

const (
	// A call without an answer has failed after this.
	callTimeout = 30 * time.Second
	// A watch is opened anew after this, so that no stream lives for ever.
	watchTimeout = time.Hour
	// How long to go on trying: briefly for a call, for a watch longer than a server takes to come back on another machine.
	callPatience  = 15 * time.Second
	watchPatience = 5 * time.Minute
	// Between two tries: doubled each time, up to the longest.
	firstDelay   = 250 * time.Millisecond
	longestDelay = 8 * time.Second
)

// client is graft.v1.JobService with the tries that it may need. Every call of JobService may be repeated.
type client struct {
	jobs graft.JobServiceClient
	log  io.Writer
}

// submit hands over the job. With the same request id it is the same job, however often it is submitted.
func (c *client) submit(ctx context.Context, job *graft.GraftJob, requestID string) (*graft.GraftJob, error) {
	response, err := call(ctx, c, func(ctx context.Context) (*graft.SubmitJobResponse, error) {
		return c.jobs.SubmitJob(ctx, &graft.SubmitJobRequest{RequestId: &requestID, Job: job})
	})
	return response.GetJob(), err
}

// result says where the files of a complete job can be read for a while, with their lengths and digests.
func (c *client) result(ctx context.Context, uid string) (*graft.GetResultResponse, error) {
	return call(ctx, c, func(ctx context.Context) (*graft.GetResultResponse, error) {
		return c.jobs.GetResult(ctx, &graft.GetResultRequest{Job: &graft.JobReference{Name: &uid}})
	})
}

// watch gives the job as it is now, then each change, until its end, and returns it as it was then.
// After a lost connection it goes on where it was.
func (c *client) watch(ctx context.Context, uid string, onChange func(*graft.GraftJob)) (*graft.GraftJob, error) {
	var job *graft.GraftJob
	tries := c.newTries(watchPatience)
	for {
		err := c.watchOnce(ctx, uid, job.GetMetadata().GetResourceVersion(), func(next *graft.GraftJob) {
			job = next
			tries.reset()
			onChange(job)
		})
		if hasEnded(job) {
			return job, nil
		}
		if errors.Is(err, io.EOF) {
			err = status.Error(codes.Unavailable, "the watch ended before the job")
		}
		if err := tries.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// watchOnce reads one stream to its end, which is an error.
func (c *client) watchOnce(ctx context.Context, uid, seen string, onChange func(*graft.GraftJob)) error {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	stream, err := c.jobs.WatchJob(ctx, &graft.WatchJobRequest{Job: &graft.JobReference{Name: &uid}, ResourceVersion: &seen})
	if err != nil {
		return err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		onChange(response.GetJob())
	}
}

// readFile writes the bytes of a file of a result that has no url, and says how many they are. After a lost connection it goes on where it was.
func (c *client) readFile(ctx context.Context, uid, path string, into io.Writer) (int64, error) {
	var offset int64
	tries := c.newTries(callPatience)
	for {
		err := func() error {
			stream, err := c.jobs.ReadResultFile(ctx, &graft.ReadResultFileRequest{Job: &graft.JobReference{Name: &uid}, Path: &path, Offset: &offset})
			if err != nil {
				return err
			}
			for {
				response, err := stream.Recv()
				if err != nil {
					return err
				}
				if _, err := into.Write(response.GetData()); err != nil {
					return err
				}
				offset += int64(len(response.GetData()))
				tries.reset()
			}
		}()
		if errors.Is(err, io.EOF) {
			return offset, nil
		}
		if err := tries.wait(ctx, err); err != nil {
			return offset, err
		}
	}
}

func hasEnded(job *graft.GraftJob) bool {
	switch job.GetStatus().GetPhase() {
	case graft.JobStatus_COMPLETE, graft.JobStatus_FAILED, graft.JobStatus_CANCELLED:
		return true
	default:
		return false
	}
}

// call tries a unary call until it has an answer or there is no hope.
func call[R any](ctx context.Context, c *client, once func(context.Context) (R, error)) (R, error) {
	tries := c.newTries(callPatience)
	for {
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		response, err := once(limited)
		cancel()
		if err == nil {
			return response, nil
		}
		if err := tries.wait(ctx, err); err != nil {
			return response, err
		}
	}
}

// tries waits longer each time, until its patience has passed since the last success.
type tries struct {
	log      io.Writer
	patience time.Duration
	delay    time.Duration
	until    time.Time
}

func (c *client) newTries(patience time.Duration) *tries {
	t := &tries{log: c.log, patience: patience}
	t.reset()
	return t
}

func (t *tries) reset() {
	t.delay = firstDelay
	t.until = time.Now().Add(t.patience)
}

// wait sleeps before the next try; it returns an error where there shall be none.
func (t *tries) wait(ctx context.Context, err error) error {
	// The call may not have reached the server, or its answer not us.
	isPassing := status.Code(err) == codes.Unavailable || status.Code(err) == codes.DeadlineExceeded
	if ctx.Err() != nil || !isPassing || time.Now().After(t.until) {
		return err
	}
	delay := t.delay/2 + mathrand.N(t.delay/2) // not all clients at the same moment
	fmt.Fprintf(t.log, "connection lost (%s: %s); trying again in %.1f s\n", status.Code(err), status.Convert(err).Message(), delay.Seconds())
	t.delay = min(2*t.delay, longestDelay)
	select {
	case <-time.After(delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newUUID makes a random one (version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
