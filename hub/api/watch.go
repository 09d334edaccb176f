package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/events"
)

const (
	typeEvents = "text/event-stream"
	// eventBatch is how many events are read at once.
	eventBatch = 200
	// eventSpacing is the least time between two reads of one stream.
	eventSpacing = 50 * time.Millisecond
	// reconnect is how long a browser waits until it connects again.
	reconnect = 2 * time.Second
)

func (s *Server) streamRoute() {
	op := rest.Operation("stream-events", http.MethodGet, "events/stream", "Follow events as they come", http.StatusServiceUnavailable)
	op.Description = "Server-sent events (text/event-stream): id is the event's, data its JSON as in GET /events. With Last-Event-ID, or after, it goes on " +
		"after that event; without, it begins now. A comment comes at least every 15 s, and with it the id up to which was looked."
	op.Responses = map[string]*huma.Response{"200": {Description: "The events", Content: map[string]*huma.MediaType{typeEvents: {}}}}
	rest.Register(s.Server, rest.Viewer("event"), op, s.watch)
}

type watchInput struct {
	Kind   []string `query:"kind" maxItems:"20" doc:"any of these; host is for host-online and all others that begin so"`
	Object string   `query:"object" maxLength:"300" doc:"such as host/builder-01; or host for all hosts"`
	Last   string   `header:"Last-Event-ID" pattern:"^[0-9]{0,18}$" doc:"the id of the last event that was seen; 0: from the first on"`
	After  string   `query:"after" pattern:"^[0-9]{0,18}$" doc:"the same, for the first connection; Last-Event-ID goes before it"`
}

func (s *Server) watch(ctx context.Context, in *watchInput) (*huma.StreamResponse, error) {
	if err := s.knownFilter(in.Kind, in.Object); err != nil {
		return nil, err
	}
	after, err := s.begin(ctx, in)
	if err != nil {
		return nil, s.fault(err)
	}
	done, err := s.eventStreams.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer done()
		r, w := humago.Unwrap(ctx)
		out := newEventStream(w, s.WriteTimeout)
		if r.Method == http.MethodHead {
			return
		}
		good, stop := s.WhileGood(ctx.Context())
		defer stop()
		err := s.follow(good, after, events.Filter{Kinds: in.Kind, Object: in.Object}, out)
		if err != nil && good.Err() == nil && !errors.Is(err, errReaderGone) {
			s.Logger.Warn("stream events", "err", err)
		}
	}}, nil
}

// begin is the id after which a stream begins.
func (s *Server) begin(ctx context.Context, in *watchInput) (int64, error) {
	for _, text := range []string{in.Last, in.After} {
		if text != "" {
			return strconv.ParseInt(text, 10, 64)
		}
	}
	return s.Events.Last(ctx)
}

// follow writes events until ctx ends or the reader is gone, which is an error.
// Events wait in the database alone: a slow reader costs no memory.
func (s *Server) follow(ctx context.Context, after int64, filter events.Filter, out *eventStream) error {
	sub := s.Events.Subscribe()
	defer sub.Close()
	beat := time.NewTicker(s.Heartbeat)
	defer beat.Stop()
	if err := out.hello(); err != nil {
		return err
	}
	for {
		page, err := s.Events.After(ctx, after, filter, eventBatch)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			if err := out.event(eventOf(e)); err != nil {
				return err
			}
		}
		after = page.Position
		if err := out.flush(); err != nil {
			return err
		}
		if page.More {
			continue
		}
		if err := s.pause(ctx); err != nil {
			return err
		}
		select {
		case <-sub.C:
		case <-beat.C:
			if err := out.beat(after); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pause spaces the reads of a stream when much happens.
func (s *Server) pause(ctx context.Context) error {
	timer := time.NewTimer(eventSpacing)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// eventStream writes server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type eventStream struct {
	out *output
	buf bytes.Buffer
}

func newEventStream(w http.ResponseWriter, timeout time.Duration) *eventStream {
	h := w.Header()
	h.Set("Content-Type", typeEvents)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // nginx
	w.WriteHeader(http.StatusOK)
	return &eventStream{out: &output{w: w, control: http.NewResponseController(w), timeout: timeout}}
}

func (e *eventStream) hello() error {
	fmt.Fprintf(&e.buf, "retry: %d\n\n", reconnect.Milliseconds())
	return e.flush()
}

// beat says that the connection is there, and where the reader is.
func (e *eventStream) beat(position int64) error {
	fmt.Fprintf(&e.buf, ": beat\nid: %d\n\n", position)
	return e.flush()
}

func (e *eventStream) event(event Event) error {
	data, err := json.Marshal(event)
	if err != nil {
		return err
	}
	fmt.Fprintf(&e.buf, "id: %d\ndata: %s\n\n", event.ID, data)
	return nil
}

// flush sends what was written.
func (e *eventStream) flush() error {
	if e.buf.Len() == 0 {
		return nil
	}
	defer e.buf.Reset()
	if err := e.out.write(e.buf.Bytes()); err != nil {
		return err
	}
	return e.out.flush()
}
