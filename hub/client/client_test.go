package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is the real API, with a way to be in the way.
type hub struct {
	t      *testing.T
	queue  *queue.Queue
	logs   *logs.Store
	token  string
	server *httptest.Server
	http   *http.Client
	client *client.Client
	full   atomic.Bool
	// before, when set, sees each request first; true: it was answered.
	before atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

func newHub(t *testing.T, adjust ...func(*queue.Config)) *hub {
	t.Helper()
	h := &hub{t: t}
	dir := storetest.Dir(t)
	db, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	cfg := queue.Config{Store: db, StorageFull: h.full.Load}
	for _, a := range adjust {
		a(&cfg)
	}
	h.queue, err = queue.New(t.Context(), cfg)
	require.NoError(t, err)
	h.logs, err = logs.New(logs.Config{Dir: dir + "/logs", Limit: 64 << 10})
	require.NoError(t, err)
	admin, _, err := api.FirstAdmin(t.Context(), h.queue)
	require.NoError(t, err)
	h.token = admin.Reveal()
	handler, err := api.New(api.Config{Queue: h.queue, Logs: h.logs})
	require.NoError(t, err)
	h.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before := h.before.Load(); before == nil || !(*before)(w, r) {
			http.StripPrefix("/prefix", handler).ServeHTTP(w, r)
		}
	}))
	h.http = &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		h.http.CloseIdleConnections()
		h.server.Close()
	})
	h.client = h.as(h.token)
	return h
}

func (h *hub) as(token string) *client.Client {
	h.t.Helper()
	c, err := client.New(client.Config{URL: h.server.URL + "/prefix/", Token: token, HTTP: h.http})
	require.NoError(h.t, err)
	return c
}

func (h *hub) stand(before func(http.ResponseWriter, *http.Request) bool) { h.before.Store(&before) }

func (h *hub) claim() queue.Claim {
	h.t.Helper()
	ctx := h.t.Context()
	_, secret, err := h.queue.CreateToken(ctx, queue.TokenSpec{Kind: tokens.ManualRegistration})
	require.NoError(h.t, err)
	session, err := h.queue.Register(ctx, secret.Reveal(), []string{"a"})
	require.NoError(h.t, err)
	claim, found, err := h.queue.Claim(ctx, session.Token, true)
	require.NoError(h.t, err)
	require.True(h.t, found)
	return claim
}

func (h *hub) append(key logs.Key, offset int64, text string) {
	h.t.Helper()
	_, err := h.logs.Append(key, offset, []byte(text))
	require.NoError(h.t, err)
	h.queue.Notify(queue.TopicJob(key.Job))
}

var spec = client.JobSpec{Labels: []string{"a"}, Run: "make", Env: map[string]string{"A": "b"}}

func TestJobs(t *testing.T) {
	h, ctx := newHub(t), t.Context()
	job, err := h.client.Submit(ctx, spec, "key")
	require.NoError(t, err)
	again, err := h.client.Submit(ctx, spec, "key")
	require.NoError(t, err)
	require.Equal(t, job.ID, again.ID)
	other, err := h.client.Submit(ctx, client.JobSpec{Labels: []string{"a", "gpu"}, Command: []string{"true"}, Name: "special"}, "")
	require.NoError(t, err)

	jobs, next, err := h.client.Jobs(ctx, client.Filter{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, other.ID, jobs[0].ID)
	jobs, next, err = h.client.Jobs(ctx, client.Filter{Limit: 1, Cursor: next})
	require.NoError(t, err)
	require.Equal(t, job.ID, jobs[0].ID)
	require.Empty(t, next)
	jobs, _, err = h.client.Jobs(ctx, client.Filter{Statuses: []string{"queued", "running"}, Labels: []string{"gpu", "a"}, Name: "SPECIAL"})
	require.NoError(t, err)
	require.Len(t, jobs, 1)

	shown, err := h.client.Job(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, job, shown)
	require.False(t, shown.Final())
	cancelled, err := h.client.Cancel(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, "cancelled", cancelled.Status)
	events, err := h.client.JobEvents(ctx, job.ID)
	require.NoError(t, err)
	require.Len(t, events, 2)
}

func TestErrorsAreTold(t *testing.T) {
	h, ctx := newHub(t), t.Context()
	_, err := h.client.Job(ctx, "../tokens")
	require.ErrorIs(t, err, client.ErrNotFound, "an id is an id, whatever it holds")
	_, err = h.client.Submit(ctx, client.JobSpec{Labels: []string{"a b"}, Run: "x"}, "")
	require.ErrorContains(t, err, `"a b"`)
	var problem *client.Error
	require.ErrorAs(t, err, &problem)
	require.Equal(t, "invalid", problem.Code())
	h.full.Store(true)
	_, err = h.client.Submit(ctx, spec, "")
	require.ErrorIs(t, err, client.ErrStorageFull)

	stranger := tokens.New(tokens.Admin).Reveal()
	_, err = h.as(stranger).Tokens(ctx)
	require.ErrorIs(t, err, client.ErrUnauthorized)
	require.NotContains(t, err.Error(), stranger[12:])

	h.stand(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
		return true
	})
	_, err = h.client.Tokens(ctx)
	require.Error(t, err, "a token must not be carried elsewhere")
	h.stand(func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte("<html>")); return true })
	_, err = h.client.Tokens(ctx)
	require.ErrorIs(t, err, client.ErrUnreachable)
	h.server.Close()
	_, err = h.client.Tokens(ctx)
	require.ErrorIs(t, err, client.ErrUnreachable)
	require.NotContains(t, err.Error(), h.token[12:])

	for _, cfg := range []client.Config{{}, {URL: "hub", Token: "x"}, {URL: "http://hub"}, {URL: "http://hub", Token: "a\nb"}} {
		_, err := client.New(cfg)
		require.ErrorIs(t, err, client.ErrUsage)
	}
}

func TestWhatIsNoHubIsTold(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	c, err := client.New(client.Config{URL: server.URL, Token: tokens.New(tokens.Admin).Reveal()})
	require.NoError(t, err)
	_, err = c.Job(t.Context(), "some")
	require.ErrorContains(t, err, "not a Slipway hub's")
	require.NotErrorIs(t, err, client.ErrNotFound, "it knows nothing of the hub's jobs")
}

func TestTokens(t *testing.T) {
	h, ctx := newHub(t), t.Context()
	made, err := h.client.CreateToken(ctx, client.TokenSpec{Kind: "admin", Name: "second"})
	require.NoError(t, err)
	second := h.as(made.Secret)
	known, err := second.Tokens(ctx)
	require.NoError(t, err)
	require.Len(t, known, 2)
	require.NoError(t, h.client.RevokeToken(ctx, made.ID))
	_, err = second.Tokens(ctx)
	require.ErrorIs(t, err, client.ErrUnauthorized)
	require.ErrorIs(t, h.client.RevokeToken(ctx, "nope"), client.ErrNotFound)
}

func TestWaitGoesThroughAnOutage(t *testing.T) {
	h, ctx := newHub(t), t.Context()
	job, err := h.client.Submit(ctx, spec, "")
	require.NoError(t, err)
	var refused atomic.Int64
	h.stand(func(w http.ResponseWriter, _ *http.Request) bool {
		switch refused.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		case 2:
			panic(http.ErrAbortHandler)
		case 3:
			go func() { _, _ = h.queue.Cancel(context.WithoutCancel(ctx), job.ID) }()
		}
		return false
	})
	ended, err := h.client.Wait(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, "cancelled", ended.Status)
	require.True(t, ended.Final())
	require.False(t, ended.Succeeded())

	_, err = h.client.Wait(ctx, "nope")
	require.ErrorIs(t, err, client.ErrNotFound)
	waiting, err := h.client.Submit(ctx, spec, "")
	require.NoError(t, err)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = h.client.Wait(short, waiting.ID)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// cutter breaks every connection after some bytes, and not before one write.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// However often the connection breaks, a followed log has every byte once.
func TestFollowedLogIsWhole(t *testing.T) {
	h := newHub(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	job, err := h.client.Submit(ctx, spec, "")
	require.NoError(t, err)
	var streams atomic.Int64
	handler, err := api.New(api.Config{Queue: h.queue, Logs: h.logs})
	require.NoError(t, err)
	h.stand(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/logs") {
			return false
		}
		streams.Add(1)
		http.StripPrefix("/prefix", handler).ServeHTTP(&cutter{w, 3000}, r)
		return true
	})
	claim := h.claim()
	var got bytes.Buffer
	var following sync.WaitGroup
	var failed error
	following.Go(func() { failed = h.client.Logs(ctx, job.ID, client.LogOptions{Follow: true}, &got) })
	var want strings.Builder
	for i := range 300 {
		line := fmt.Sprintf("this is line %d of the log\n", i)
		h.append(logs.Key{Job: job.ID, Attempt: claim.Attempt}, int64(want.Len()), line)
		want.WriteString(line)
	}
	require.NoError(t, h.queue.Finish(ctx, claim.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}))
	following.Wait()
	require.NoError(t, failed)
	require.Equal(t, want.String(), got.String())
	require.Greater(t, streams.Load(), int64(1), "the connection was to break")
}

// A job that ran again has a log for each attempt; who follows it sees them all.
func TestFollowGoesOnToTheNextAttempt(t *testing.T) {
	h := newHub(t, func(c *queue.Config) {
		c.LeaseTTL, c.LeaseGrace, c.RenewInterval = 20*time.Millisecond, time.Millisecond, 10*time.Millisecond
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	again := spec
	again.Retries = 1
	job, err := h.client.Submit(ctx, again, "")
	require.NoError(t, err)
	first := h.claim()
	h.append(logs.Key{Job: job.ID, Attempt: 1}, 0, "one")
	var got bytes.Buffer
	var following sync.WaitGroup
	var failed error
	following.Go(func() { failed = h.client.Logs(ctx, job.ID, client.LogOptions{Follow: true}, &got) })
	require.Eventually(t, func() bool {
		_, err := h.queue.Expire(ctx)
		require.NoError(t, err)
		job, err = h.client.Job(ctx, job.ID)
		require.NoError(t, err)
		return job.Status == "queued"
	}, 30*time.Second, 5*time.Millisecond, "the lease was to be lost")
	second := h.claim()
	require.Equal(t, first.JobID, second.JobID)
	require.Equal(t, 2, second.Attempt)
	h.append(logs.Key{Job: job.ID, Attempt: 2}, 0, "two")
	require.NoError(t, h.queue.Finish(ctx, second.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}))
	following.Wait()
	require.NoError(t, failed)
	require.Equal(t, "one\n[slipway: the runner was lost, this is attempt 2]\ntwo", got.String())

	got.Reset()
	require.NoError(t, h.client.Logs(ctx, job.ID, client.LogOptions{}, &got))
	require.Equal(t, "two", got.String())
	got.Reset()
	require.NoError(t, h.client.Logs(ctx, job.ID, client.LogOptions{Attempt: 1, Follow: true}, &got))
	require.Equal(t, "one", got.String())
}

func TestLogIsReadOnce(t *testing.T) {
	h, ctx := newHub(t), t.Context()
	job, err := h.client.Submit(ctx, spec, "")
	require.NoError(t, err)
	key := logs.Key{Job: job.ID, Attempt: 1}
	h.append(key, 0, strings.Repeat("x", 100<<10))
	_, err = h.logs.Drop(key, 100<<10, 5)
	require.NoError(t, err)
	var got bytes.Buffer
	require.NoError(t, h.client.Logs(ctx, job.ID, client.LogOptions{}, &got))
	require.Regexp(t, `^x+\n\[slipway: \d+ bytes of the log are missing here: the log is longer than is kept\]\nx+\n\[slipway: 5 bytes of the log are missing here: the disk was full\]\n$`, got.String())
	got.Reset()
	require.NoError(t, h.client.Logs(ctx, job.ID, client.LogOptions{Offset: 100<<10 - 2, Attempt: 1}, &got))
	require.Equal(t, "xx\n[slipway: 5 bytes of the log are missing here: the disk was full]\n", got.String())

	broken := errors.New("broken pipe")
	require.ErrorIs(t, h.client.Logs(ctx, job.ID, client.LogOptions{Follow: true}, failing{broken}), broken)
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, cancel)
	require.ErrorIs(t, h.client.Logs(ctx, job.ID, client.LogOptions{Follow: true}, &got), context.Canceled)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
