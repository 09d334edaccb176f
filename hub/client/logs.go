package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// LogOptions say what to read of a log.
type LogOptions struct {
	// Follow goes on until the job has ended, through lost connections and
	// restarts of the hub.
	Follow bool
	// Attempt is which attempt; 0: the last, and with Follow those after it.
	Attempt int
	// Offset is where to begin, in bytes of the log.
	Offset int64
}

// Logs writes a job's log to w, with marks where bytes are missing and where a
// new attempt begins. Nil: it is whole as far as it goes, and with Follow the job
// has ended. An error of w is returned as it is.
func (c *Client) Logs(ctx context.Context, id string, o LogOptions, w io.Writer) error {
	r := &reader{c: c, id: id, o: o, w: w}
	if !o.Follow {
		return r.read(ctx)
	}
	return Patiently(ctx, func() error {
		for {
			before := r.records
			err := r.read(ctx)
			if err == nil || !passing(err) || r.records == before {
				return err
			}
			// It came on: no reason to wait before the next try.
		}
	})
}

// reader knows where it is.
type reader struct {
	c       *Client
	id      string
	o       LogOptions // Attempt and Offset are where to go on
	w       io.Writer
	attempt int
	records int
}

// read reads one stream to its end.
func (r *reader) read(ctx context.Context) error {
	query := url.Values{"follow": {strconv.FormatBool(r.o.Follow)}, "offset": {strconv.FormatInt(r.o.Offset, 10)}}
	if r.o.Attempt > 0 {
		query.Set("attempt", strconv.Itoa(r.o.Attempt))
	} else if r.attempt > 0 {
		query.Set("from_attempt", strconv.Itoa(r.attempt))
	}
	res, err := r.c.send(ctx, http.MethodGet, "jobs/"+url.PathEscape(r.id)+"/logs", query, nil, "Accept", "application/x-ndjson")
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	records := json.NewDecoder(res.Body)
	for {
		var record LogRecord
		if err := records.Decode(&record); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // the last record says that it is the last
			}
			return unreachable(ctx, fmt.Errorf("read log: %w", err))
		}
		if record.End {
			return nil
		}
		if err := r.take(record); err != nil {
			return err
		}
	}
}

func (r *reader) take(record LogRecord) error {
	if r.attempt != 0 && record.Attempt != r.attempt {
		if _, err := fmt.Fprintf(r.w, "\n[slipway: the runner was lost, this is attempt %d]\n", record.Attempt); err != nil {
			return err
		}
	}
	r.attempt = record.Attempt
	r.records++
	r.o.Offset = record.Offset + int64(len(record.Data)) + record.Missing
	if record.Missing > 0 {
		_, err := io.WriteString(r.w, record.Mark())
		return err
	}
	_, err := r.w.Write(record.Data)
	return err
}
