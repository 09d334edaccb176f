package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
)

const (
	readChunk = 64 << 10
	// typeRecords is the form of a log that can be taken up again where it broke off.
	typeRecords = "application/x-ndjson"
)

func (s *Server) logRoutes() {
	op := rest.Operation("read-job-log", http.MethodGet, "jobs/{id}/logs", "Read a job's log", http.StatusNotFound, http.StatusServiceUnavailable)
	op.Description = "Plain text; or with Accept: " + typeRecords + " records {attempt, offset, data (base64)}, " +
		"{attempt, offset, missing, reason} and at last {end, status}."
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The log", Content: map[string]*huma.MediaType{"text/plain": {}, typeRecords: {}},
	}}
	rest.Register(s.Server, rest.Viewer("job"), op, s.log)
}

type logInput struct {
	ID      string `path:"id"`
	Offset  int64  `query:"offset" minimum:"0" doc:"where to begin"`
	Attempt int    `query:"attempt" minimum:"0" doc:"which attempt; default: the last, and with follow those after it too"`
	From    int    `query:"from_attempt" minimum:"0" doc:"which attempt to begin with, where attempt is not given"`
	Follow  bool   `query:"follow" doc:"go on until the job has ended"`
	Accept  string `header:"Accept"`
}

func (s *Server) log(ctx context.Context, in *logInput) (*huma.StreamResponse, error) {
	job, err := s.Queue.Job(ctx, in.ID)
	if err != nil {
		return nil, s.fault(err)
	}
	if in.Attempt > max(job.Attempt, 1) && !in.Follow {
		return nil, problem.New(http.StatusNotFound, "not-found", fmt.Sprintf("there is no attempt %d: the job has had %d so far", in.Attempt, job.Attempt))
	}
	done, err := s.logStreams.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer done()
		r, w := humago.Unwrap(ctx)
		out := newOutput(w, strings.Contains(in.Accept, typeRecords), s.WriteTimeout)
		if r.Method == http.MethodHead {
			return
		}
		good, stop := s.WhileGood(ctx.Context())
		defer stop()
		err := s.stream(good, in, job, out)
		if err != nil && good.Err() == nil && !errors.Is(err, errReaderGone) {
			s.Logger.Warn("read log", "job", in.ID, "err", err)
		}
		// A stream that broke off must not look like one that came to its end.
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

// stream writes the log, and with Follow what comes, until the job has ended.
func (s *Server) stream(ctx context.Context, in *logInput, job queue.Job, out *output) error {
	sub := s.Queue.Subscribe(queue.TopicJob(in.ID))
	defer sub.Close()
	key := logs.Key{Job: in.ID, Attempt: cmp.Or(in.Attempt, in.From, job.Attempt, 1)}
	offset := in.Offset
	for {
		// First the state, then the log: a log is whole before its job has ended.
		job, err := s.Queue.Job(ctx, in.ID)
		if err != nil {
			return err
		}
		if offset, err = s.drain(ctx, key, offset, out); err != nil {
			return err
		}
		switch {
		case in.Follow && in.Attempt == 0 && key.Attempt < job.Attempt:
			key.Attempt, offset = key.Attempt+1, 0
			if err := out.attempt(key.Attempt); err != nil {
				return err
			}
			continue
		case !in.Follow, job.State.Final(), key.Attempt < job.Attempt:
			return out.end(job)
		}
		select {
		case <-sub.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drain writes what there is.
func (s *Server) drain(ctx context.Context, key logs.Key, offset int64, out *output) (int64, error) {
	for {
		if err := ctx.Err(); err != nil {
			return offset, err
		}
		chunk, err := s.Logs.Read(key, offset, readChunk)
		if err != nil || chunk.End() {
			return offset, errors.Join(err, out.flush())
		}
		if err := out.chunk(key.Attempt, chunk); err != nil {
			return offset, err
		}
		offset = chunk.Next()
	}
}

var errReaderGone = errors.New("api: the reader of a log is gone, or too slow")

// output writes a log as text or as records.
type output struct {
	w       io.Writer
	control *http.ResponseController
	records bool
	timeout time.Duration
}

func newOutput(w http.ResponseWriter, records bool, timeout time.Duration) *output {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if records {
		w.Header().Set("Content-Type", typeRecords)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	return &output{w: w, control: http.NewResponseController(w), records: records, timeout: timeout}
}

func (o *output) chunk(attempt int, c logs.Chunk) error {
	if !o.records {
		if c.Missing > 0 {
			return o.write([]byte(c.Mark()))
		}
		return o.write(c.Data)
	}
	record := LogRecord{Attempt: attempt, Offset: c.Offset, Data: c.Data, Missing: c.Missing}
	if c.Missing > 0 {
		record.Reason = "cut"
		if c.Full {
			record.Reason = "full"
		}
	}
	return o.record(record)
}

// attempt tells a reader of text that the job runs anew.
func (o *output) attempt(n int) error {
	if o.records {
		return nil
	}
	mark, _ := json.Marshal(n)
	return o.write([]byte("\n[slipway: the runner was lost, this is attempt " + string(mark) + "]\n"))
}

func (o *output) end(job queue.Job) error {
	if !o.records {
		return o.flush()
	}
	if err := o.record(LogRecord{End: true, Status: string(job.State)}); err != nil {
		return err
	}
	return o.flush()
}

func (o *output) record(r LogRecord) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return o.write(append(line, '\n'))
}

// Write is write, for io.Copy.
func (o *output) Write(p []byte) (int, error) {
	if err := o.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (o *output) write(p []byte) error {
	_ = o.control.SetWriteDeadline(time.Now().Add(o.timeout)) // no deadline where there is no connection
	if _, err := o.w.Write(p); err != nil {
		return errors.Join(errReaderGone, err)
	}
	return nil
}

func (o *output) flush() error {
	_ = o.control.SetWriteDeadline(time.Now().Add(o.timeout))
	if err := o.control.Flush(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return errors.Join(errReaderGone, err)
	}
	return nil
}
