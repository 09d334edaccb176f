package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/client"
)

var errEnough = errors.New("enough")

// until takes events until one has the id.
func takeUntil(id int64, got *[]int64) func(client.Event) error {
	return func(e client.Event) error {
		*got = append(*got, e.ID)
		if e.ID == id {
			return errEnough
		}
		return nil
	}
}

func event(id int64) string {
	return fmt.Sprintf("id: %d\ndata: {\"id\":%d,\"kind\":\"k\"}\n\n", id, id)
}

// A stream that breaks after every two events, and says some of them again, gives
// each event once and in order.
func TestFollowedEventsAreWhole(t *testing.T) {
	var connections atomic.Int64
	r, c := fake(t, func(w http.ResponseWriter, req *http.Request) {
		last, err := strconv.ParseInt(req.Header.Get("Last-Event-ID"), 10, 64)
		if err != nil {
			t.Errorf("Last-Event-ID: %v", err)
		}
		switch connections.Add(1) {
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case 4:
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "retry: 2000\n\n: a comment\n\n"+event(last)+event(last+1)+"data: nonsense\n\n"+event(last+2))
		_, _ = io.WriteString(w, "id: 99\ndata: {\"id\":99") // cut in the middle: it never came
	})
	var got []int64
	err := c.FollowEvents(t.Context(), client.EventFilter{Kinds: []string{"k"}, Object: "host", After: 10}, takeUntil(20, &got))
	require.ErrorIs(t, err, errEnough)
	require.Equal(t, []int64{11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, got)
	asked, header, _ := r.last()
	require.Equal(t, "GET /api/v1/events/stream?kind=k&object=host", asked)
	require.Equal(t, "text/event-stream", header.Get("Accept"))
}

// Where the hub has looked, an id without data says: what the filter left out is
// not read again.
func TestFollowTakesPositions(t *testing.T) {
	var connections atomic.Int64
	r, c := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		if connections.Add(1) == 1 {
			_, _ = io.WriteString(w, ": beat\nid: 40\n\n")
			return
		}
		_, _ = io.WriteString(w, event(41))
	})
	var got []int64
	require.ErrorIs(t, c.FollowEvents(t.Context(), client.EventFilter{}, takeUntil(41, &got)), errEnough)
	require.Equal(t, "0", r.headers[0].Get("Last-Event-ID"), "0 is from the first on")
	require.Equal(t, "40", r.headers[1].Get("Last-Event-ID"))
}

// A hub that was restored from a backup knows less than we have seen; it says so.
func TestFollowTellsWhatIsMissing(t *testing.T) {
	_, c := fake(t, text("id: 5\ndata: {\"id\":5,\"kind\":\"events-missing\"}\n\n"+event(6)))
	var got []int64
	require.ErrorIs(t, c.FollowEvents(t.Context(), client.EventFilter{After: 100}, takeUntil(6, &got)), errEnough)
	require.Equal(t, []int64{5, 6}, got)
}

// A connection that is there and says nothing is a lost one.
func TestFollowLeavesASilentConnection(t *testing.T) {
	_, c := fake(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Last-Event-ID") == "0" {
			_, _ = io.WriteString(w, event(1))
			w.(http.Flusher).Flush()
			<-req.Context().Done()
			return
		}
		_, _ = io.WriteString(w, event(2))
	}, func(c *client.Config) { c.Silence = 300 * time.Millisecond })
	var got []int64
	require.ErrorIs(t, c.FollowEvents(t.Context(), client.EventFilter{}, takeUntil(2, &got)), errEnough)
	require.Equal(t, []int64{1, 2}, got)
}

// Where this token has too many streams, waiting closes none of them: it is told at
// once. A stream that was cut comes again, though the hub may not know of the cut yet.
func TestFollowWhereThereAreTooManyStreams(t *testing.T) {
	tooMany := func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"type":"urn:slipway:problem:too-many-streams","detail":"close one"}`)
	}
	_, c := fake(t, func(w http.ResponseWriter, _ *http.Request) { tooMany(w) })
	var got []int64
	err := c.FollowEvents(t.Context(), client.EventFilter{}, takeUntil(1, &got))
	require.ErrorIs(t, err, client.ErrTooMany)
	require.EqualError(t, err, "close one")
	var connections atomic.Int64
	_, c = fake(t, func(w http.ResponseWriter, _ *http.Request) {
		switch n := connections.Add(1); n {
		case 2:
			tooMany(w)
		default:
			_, _ = io.WriteString(w, event(n))
		}
	})
	require.ErrorIs(t, c.FollowEvents(t.Context(), client.EventFilter{}, takeUntil(3, &got)), errEnough)
	require.Equal(t, []int64{1, 3}, got)
}

func TestFollowEnds(t *testing.T) {
	_, c := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"type":"urn:slipway:problem:forbidden","detail":"no"}`)
	})
	var got []int64
	require.ErrorIs(t, c.FollowEvents(t.Context(), client.EventFilter{}, takeUntil(1, &got)), client.ErrForbidden, "what stays so is not tried again")

	_, c = fake(t, func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(w, event(1))
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	err := c.FollowEvents(ctx, client.EventFilter{}, func(client.Event) error { cancel(); return nil })
	require.ErrorIs(t, err, context.Canceled)

	_, c = fake(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	require.ErrorIs(t, c.FollowEvents(short, client.EventFilter{}, takeUntil(1, &got)), context.DeadlineExceeded)
}
