package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// maxEvent bounds one line of a stream.
const maxEvent = 1 << 20

// errSilent ends a connection that says nothing, not even that it is there.
var errSilent = errors.New("the stream of events went silent")

// FollowEvents calls take with each event after f.After, in order and once each,
// however often the connection is lost; one of KindEventsMissing where the hub has
// lost some. It returns the error of take, or why the hub refuses, or that ctx ended.
func (c *Client) FollowEvents(ctx context.Context, f EventFilter, take func(Event) error) error {
	s := &stream{c: c, query: f.query(), last: f.After, take: take}
	return Patiently(ctx, func() error {
		for {
			before := s.last
			err := s.read(ctx)
			if !s.opened && errors.Is(err, ErrTooMany) {
				return backoff.Permanent(err) // nothing of ours will close by waiting
			}
			if s.failed != nil || !passing(err) || s.last == before {
				return err
			}
			// It came on: no reason to wait before the next try.
		}
	})
}

// stream is a stream of server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type stream struct {
	c      *Client
	query  url.Values
	last   int64 // up to where it was read
	take   func(Event) error
	failed error // of take
	opened bool  // the hub gave us one before
}

// read reads one connection to its end, which is always an error.
func (s *stream) read(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(s.c.silence, func() { cancel(errSilent) })
	defer silence.Stop()
	res, err := s.c.send(ctx, http.MethodGet, "events/stream", s.query, nil,
		"Accept", "text/event-stream", "Last-Event-ID", strconv.FormatInt(s.last, 10))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	s.opened = true
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxEvent)
	var id, data string
	for lines.Scan() {
		silence.Reset(s.c.silence)
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if s.failed = s.dispatch(id, data); s.failed != nil {
				return s.failed
			}
			id, data = "", ""
		case field == "id":
			id = value
		case field == "data":
			data += value + "\n"
		}
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		err = cause
	}
	return unreachable(ctx, fmt.Errorf("read events: %w", err))
}

// dispatch hands over one event. An id without one says how far the hub has looked.
// What is no event, and what was seen, is passed over.
func (s *stream) dispatch(id, data string) error {
	if data == "" {
		if position, err := strconv.ParseInt(id, 10, 64); err == nil {
			s.last = max(s.last, position)
		}
		return nil
	}
	var e Event
	if json.Unmarshal([]byte(data), &e) != nil || e.ID <= s.last && e.Kind != KindEventsMissing {
		return nil
	}
	if err := s.take(e); err != nil {
		return err
	}
	s.last = e.ID
	return nil
}
