package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// sse is one open stream.
type sse struct {
	t     *testing.T
	body  *bufio.Reader
	close func()
	id    string // the last one
}

// open begins to read an answer that goes on and on.
func (w *world) open(path string, headers ...string) (res *http.Response, stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", w.server.URL+"/api/v1/"+path, nil)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+w.token)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err = w.client.Do(req)
	require.NoError(w.t, err)
	stop = func() { cancel(); _ = res.Body.Close() }
	w.t.Cleanup(stop)
	require.Equal(w.t, 200, res.StatusCode)
	return res, stop
}

func (w *world) watch(query string, headers ...string) *sse {
	w.t.Helper()
	res, stop := w.open("events/stream"+query, headers...)
	s := &sse{t: w.t, body: bufio.NewReader(res.Body), close: stop}
	require.Equal(w.t, "text/event-stream", res.Header.Get("Content-Type"))
	require.Equal(w.t, "no-store", res.Header.Get("Cache-Control"))
	line, err := s.body.ReadString('\n')
	require.NoError(w.t, err)
	require.Equal(w.t, "retry: 2000\n", line, "the stream is open before anything happens")
	return s
}

// next is the next event; comments are passed over.
func (s *sse) next() api.Event {
	s.t.Helper()
	for {
		line, err := s.body.ReadString('\n')
		require.NoError(s.t, err)
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			s.id = value
		case "data":
			var e api.Event
			require.NoError(s.t, json.Unmarshal([]byte(value), &e))
			require.Equal(s.t, s.id, strconv.FormatInt(e.ID, 10))
			return e
		}
	}
}

func (s *sse) kinds(n int) (out []string) {
	s.t.Helper()
	for range n {
		out = append(out, s.next().Kind)
	}
	return out
}

func (w *world) happen(kinds ...string) {
	w.t.Helper()
	for _, kind := range kinds {
		if kind == "job-queued" {
			w.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
			continue
		}
		require.NoError(w.t, w.events.Append(w.t.Context(), events.Event{Kind: kind, Object: "host/a"}))
	}
}

// A reader that is cut again and again, wherever, sees every event once and in order.
func TestStreamIsResumable(t *testing.T) {
	w := newWorld(t)
	var want, got []string
	last := "0"
	for round := range 12 {
		batch := []string{"host-online", "job-queued", fmt.Sprintf("host-%d", round), "job-queued", "host-offline"}
		w.happen(batch...)
		want = append(want, batch...)
		s := w.watch("", "Last-Event-ID", last)
		take := 1 + round*7%6
		for len(got) < len(want) && take > 0 {
			got = append(got, s.next().Kind)
			take--
		}
		last = s.id
		s.close()
	}
	s := w.watch("?after="+last, "Last-Event-ID", "")
	got = append(got, s.kinds(len(want)-len(got))...)
	require.Equal(t, want, got)
	w.happen("host-live", "job-queued")
	require.Equal(t, []string{"host-live", "job-queued"}, s.kinds(2), "it goes on with what comes")
}

func TestStreamBeginsNow(t *testing.T) {
	w := newWorld(t)
	w.happen("host-old")
	s := w.watch("")
	w.happen("host-new")
	require.Equal(t, []string{"host-new"}, s.kinds(1))
}

func TestStreamFilters(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Heartbeat = 20 * time.Millisecond })
	s := w.watch("?kind=host&kind=token&object=host/a")
	w.happen("job-queued", "host-online", "job-queued", "scale-set-edited")
	require.Equal(t, []string{"host-online"}, s.kinds(1))
	// A comment tells how far was looked, so that nobody looks again.
	end, err := w.events.Last(t.Context())
	require.NoError(t, err)
	for s.id != strconv.FormatInt(end, 10) {
		line, err := s.body.ReadString('\n')
		require.NoError(t, err)
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			s.id = strings.TrimSpace(id)
		}
		require.NotContains(t, line, "data:")
	}
}

func TestStreamHasABound(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Streams = 2 })
	first := w.watch("")
	w.watch("")
	w.problem(503, "too-many-streams", w.do("GET", "events/stream", nil))
	require.Equal(t, 200, w.do("GET", "events", nil).status)
	first.close()
	require.Eventually(t, func() bool { return w.do("HEAD", "events/stream", nil).status == 200 }, 30*time.Second, 10*time.Millisecond,
		"a reader that leaves gives its place back")
	require.Equal(t, 200, w.do("HEAD", "events/stream", nil).status, "a HEAD takes none")
	w.problem(422, "invalid", w.do("GET", "events/stream", nil, "Last-Event-ID", "x"))
	w.problem(422, "invalid", w.do("GET", "events?after=-1", nil))
}

// Nobody takes all streams: a token has its share, and the others keep theirs. The
// same holds for logs.
func TestStreamsAreBoundedForEachToken(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.StreamsPerToken = 2 })
	greedy, _ := w.as(queue.RoleViewer)
	modest, _ := w.as(queue.RoleViewer)
	as := func(secret string) []string { return []string{"Authorization", "Bearer " + secret} }
	first := w.watch("", as(greedy)...)
	w.watch("", as(greedy)...)
	p := w.problem(429, "too-many-streams", w.do("GET", "events/stream", nil, as(greedy)...))
	require.Contains(t, p.Detail, "close one")
	w.watch("", as(modest)...)
	first.close()
	require.Eventually(t, func() bool { return w.do("HEAD", "events/stream", nil, as(greedy)...).status == 200 }, 20*time.Second, 10*time.Millisecond,
		"what is closed is given back")

	job := w.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	follow := func(secret string) (stop func()) {
		_, stop = w.open("jobs/"+job.ID+"/logs?follow=true", as(secret)...)
		return stop
	}
	stop := follow(greedy)
	follow(greedy)
	w.problem(429, "too-many-streams", w.do("GET", "jobs/"+job.ID+"/logs", nil, as(greedy)...))
	follow(modest)
	require.Equal(t, 200, w.do("HEAD", "jobs/"+job.ID+"/logs", nil, as(modest)...).status)
	stop()
	require.Eventually(t, func() bool { return w.do("HEAD", "jobs/"+job.ID+"/logs", nil, as(greedy)...).status == 200 }, 20*time.Second, 10*time.Millisecond)
}

// What a token keeps open ends with it.
func TestStreamEndsWithItsToken(t *testing.T) {
	w := newWorld(t)
	secret, id := w.as(queue.RoleViewer)
	s := w.watch("", "Authorization", "Bearer "+secret)
	require.Equal(t, 204, w.do("DELETE", "tokens/"+id, nil).status)
	_, err := io.ReadAll(s.body)
	require.NoError(t, err, "it ends at once, not by the client's patience")

	_, brief, err := w.queue.CreateToken(t.Context(), queue.TokenSpec{Kind: tokens.API, Role: queue.RoleViewer, Lifetime: 2 * time.Second})
	require.NoError(t, err)
	s = w.watch("", "Authorization", "Bearer "+brief.Reveal())
	_, err = io.ReadAll(s.body)
	require.NoError(t, err)

	secret, id = w.as(queue.RoleViewer)
	job := w.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	_, log := w.follow("jobs/"+job.ID+"/logs?follow=true", "Authorization", "Bearer "+secret)
	require.Equal(t, 204, w.do("DELETE", "tokens/"+id, nil).status)
	_, err = io.ReadAll(log)
	require.Error(t, err, "a log that broke off must not look whole")
}

// A reader that takes nothing is cut, and costs nothing meanwhile.
func TestSlowReaderOfEventsIsCut(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.WriteTimeout, c.Streams = 2*time.Second, 1 })
	long := strings.Repeat("x", 900)
	for range 14 {
		var list []events.Event
		for range 500 {
			list = append(list, events.Event{Kind: "host-online", Object: "host/a", Text: long})
		}
		require.NoError(t, w.events.Append(t.Context(), list...))
	}
	conn, err := net.Dial("tcp", w.server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = fmt.Fprintf(conn, "GET /api/v1/events/stream?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", w.token)
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, 12))
	require.NoError(t, err)
	w.problem(503, "too-many-streams", w.do("GET", "events/stream", nil))
	w.happen("host-next")
	require.Eventually(t, func() bool { return w.do("HEAD", "events/stream", nil).status == 200 }, 20*time.Second, 20*time.Millisecond)
}

func TestEventsAreListed(t *testing.T) {
	w := newWorld(t)
	w.happen("host-1", "job-queued", "host-2", "host-3")
	list := func(query string) (kinds []string, next string) {
		var page struct {
			Items []api.Event
			Next  *string
		}
		w.into(200, w.do("GET", "events?"+query, nil), &page)
		for _, e := range page.Items {
			kinds = append(kinds, e.Kind)
		}
		if page.Next != nil {
			next = *page.Next
		}
		return kinds, next
	}
	kinds, next := list("limit=2")
	require.Equal(t, []string{"host-2", "host-3"}, kinds)
	require.Empty(t, next)
	kinds, next = list("after=0&limit=3")
	require.Equal(t, []string{"host-1", "job-queued", "host-2"}, kinds)
	kinds, next = list("limit=3&after=" + next)
	require.Equal(t, []string{"host-3"}, kinds)
	require.Empty(t, next)
	kinds, _ = list("kind=job")
	require.Equal(t, []string{"job-queued"}, kinds)
	kinds, _ = list("after=1000000")
	require.Equal(t, []string{events.KindMissing}, kinds)
}
