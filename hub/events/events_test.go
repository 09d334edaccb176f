package events_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/internal/crashtest"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) {
	crashtest.Child(hubUntilKilled)
	goleak.VerifyTestMain(m)
}

type world struct {
	*events.Log
	t     *testing.T
	store *store.Store
	queue *queue.Queue
}

func newWorld(t *testing.T, adjust ...func(*events.Config)) *world {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Dir: storetest.Dir(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	w := &world{t: t, store: db}
	w.queue, err = queue.New(t.Context(), queue.Config{Store: db})
	require.NoError(t, err)
	w.open(adjust...)
	return w
}

func (w *world) open(adjust ...func(*events.Config)) {
	cfg := events.Config{Queue: w.queue}
	for _, a := range adjust {
		a(&cfg)
	}
	var err error
	w.Log, err = events.New(cfg)
	require.NoError(w.t, err)
}

func (w *world) submit() queue.Job {
	w.t.Helper()
	job, err := w.queue.Submit(w.t.Context(), queue.JobSpec{Labels: []string{"a"}, Run: "true"})
	require.NoError(w.t, err)
	return job
}

func (w *world) append(kinds ...string) {
	w.t.Helper()
	for _, kind := range kinds {
		require.NoError(w.t, w.Append(w.t.Context(), events.Event{Kind: kind, Object: "host/" + kind, Text: "text of " + kind}))
	}
}

func (w *world) after(id int64, f events.Filter, limit int) events.Page {
	w.t.Helper()
	page, err := w.After(w.t.Context(), id, f, limit)
	require.NoError(w.t, err)
	return page
}

func kinds(list []events.Event) (out []string) {
	for _, e := range list {
		out = append(out, e.Kind)
	}
	return out
}

// One number says where a reader of the events of jobs and of all others is.
func TestAllEventsAreInOneOrder(t *testing.T) {
	w := newWorld(t)
	var want []string
	for range 3 {
		w.append("host-online")
		w.submit()
		w.submit()
		w.append("host-offline", "token-created")
		want = append(want, "host-online", "job-queued", "job-queued", "host-offline", "token-created")
	}
	page := w.after(0, events.Filter{}, 100)
	require.Equal(t, want, kinds(page.Events))
	require.False(t, page.More)
	for i, e := range page.Events {
		if i > 0 {
			require.Equal(t, page.Events[i-1].ID+1, e.ID, "no id is there twice, and none is left out")
		}
		require.WithinDuration(t, time.Now(), e.At, time.Minute)
	}

	var got []string
	for at, pages := int64(0), 0; ; pages++ {
		require.Less(t, pages, 20)
		page := w.after(at, events.Filter{}, 2)
		got = append(got, kinds(page.Events)...)
		require.Equal(t, page.Events[len(page.Events)-1].ID, page.Position)
		if at = page.Position; !page.More {
			break
		}
	}
	require.Equal(t, want, got, "whatever the pages are")

	newest, err := w.Newest(t.Context(), events.Filter{}, 4)
	require.NoError(t, err)
	require.Equal(t, want[len(want)-4:], kinds(newest.Events))
	require.Equal(t, page.Position, newest.Position)
	end, err := w.Last(t.Context())
	require.NoError(t, err)
	require.Equal(t, page.Position, end)
}

// A write that is undone takes no number, so that readers never skip one that is
// stored later.
func TestAnUndoneWriteLeavesNoTrace(t *testing.T) {
	w := newWorld(t)
	w.submit()
	before, err := w.Last(t.Context())
	require.NoError(t, err)
	err = w.store.Write(t.Context(), func(tx *store.Tx) error {
		if err := events.AppendTx(tx, events.Event{Kind: "host-online"}, events.Event{Kind: "host-offline"}); err != nil {
			return err
		}
		return context.Canceled
	})
	require.ErrorIs(t, err, context.Canceled)
	after, err := w.Last(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
	w.submit()
	w.append("host-online")
	require.Equal(t, []string{"job-queued", "host-online"}, kinds(w.after(before, events.Filter{}, 10).Events))
}

func TestFilters(t *testing.T) {
	w := newWorld(t)
	job := w.submit()
	other := w.submit()
	for _, e := range []events.Event{
		{Kind: "host-online", Object: "host/a"}, {Kind: "host-offline", Object: "host/ab"}, {Kind: "hostile", Object: "hostile"}, {Kind: "token-created", Object: "token/1"},
	} {
		require.NoError(t, w.Append(t.Context(), e))
	}
	end, err := w.Last(t.Context())
	require.NoError(t, err)
	for _, c := range []struct {
		filter events.Filter
		want   []string
	}{
		{events.Filter{Kinds: []string{"host"}}, []string{"host-online", "host-offline"}},
		{events.Filter{Kinds: []string{"host-online"}}, []string{"host-online"}},
		{events.Filter{Kinds: []string{"job"}}, []string{"job-queued", "job-queued"}},
		{events.Filter{Kinds: []string{"job-queued", "token"}}, []string{"job-queued", "job-queued", "token-created"}},
		{events.Filter{Kinds: []string{"job-running"}}, nil},
		{events.Filter{Kinds: []string{"ho"}}, nil},
		{events.Filter{Object: "host/a"}, []string{"host-online"}},
		{events.Filter{Object: "host"}, []string{"host-online", "host-offline"}},
		{events.Filter{Object: "job"}, []string{"job-queued", "job-queued"}},
		{events.Filter{Object: "job/" + job.ID}, []string{"job-queued"}},
		{events.Filter{Object: "job/" + other.ID, Kinds: []string{"host"}}, nil},
		{events.Filter{Object: "h%"}, nil},
	} {
		page := w.after(0, c.filter, 100)
		require.Equal(t, c.want, kinds(page.Events), "%+v", c.filter)
		require.Equal(t, end, page.Position, "what is left out was looked at, too")
		newest, err := w.Newest(t.Context(), c.filter, 100)
		require.NoError(t, err)
		require.Equal(t, c.want, kinds(newest.Events), "%+v", c.filter)
	}
	require.Equal(t, "job/"+job.ID, w.after(0, events.Filter{Object: "job/" + job.ID}, 9).Events[0].Object)
}

func TestTheTextOfAJobsEvent(t *testing.T) {
	w := newWorld(t)
	job := w.submit()
	_, secret, err := w.queue.CreateToken(t.Context(), queue.TokenSpec{Kind: tokens.ManualRegistration})
	require.NoError(t, err)
	session, err := w.queue.Register(t.Context(), secret.Reveal(), []string{"a"})
	require.NoError(t, err)
	_, found, err := w.queue.Claim(t.Context(), session.Token, true)
	require.NoError(t, err)
	require.True(t, found)
	list := w.after(0, events.Filter{Object: "job/" + job.ID}, 9).Events
	require.Equal(t, []string{"job-queued", "job-running"}, kinds(list))
	require.Empty(t, list[0].Text)
	require.Contains(t, list[1].Text, "attempt 1")
}

func TestWhatIsToldIsStored(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	sub := w.Subscribe()
	defer sub.Close()
	w.Tell("host-online", "host/a", "hello")
	select {
	case <-sub.C:
	case <-time.After(30 * time.Second):
		t.Fatal("readers must be woken by what is told")
	}
	require.Eventually(t, func() bool { return len(w.after(0, events.Filter{}, 9).Events) == 1 }, 30*time.Second, time.Millisecond)
	for i := range 1200 {
		w.Tell("host-online", fmt.Sprintf("host/%d", i), "")
	}
	stop()
	require.NoError(t, <-done)
	page := w.after(1, events.Filter{}, 5000)
	require.Len(t, page.Events, 1200, "what was told before the end is stored")
	require.Equal(t, "host/1199", page.Events[1199].Object)
}

func TestTellNeverWaits(t *testing.T) {
	w := newWorld(t)
	for range 10_050 { // nobody stores them
		w.Tell("host-online", "host/a", "")
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.NoError(t, w.Run(ctx))
	newest, err := w.Newest(t.Context(), events.Filter{}, 1)
	require.NoError(t, err)
	require.Equal(t, "events-lost", newest.Events[0].Kind)
	require.Contains(t, newest.Events[0].Text, "too many at once: 50")
}

func TestWhatIsStoredIsClean(t *testing.T) {
	w := newWorld(t)
	secret := tokens.New(tokens.Agent).Reveal()
	w.Tell("host-online", "host/\x00a", "line\nbreak \xff "+secret+strings.Repeat("ü", 1000))
	require.NoError(t, w.Record(t.Context(), events.Entry{Detail: secret, Changes: []events.Change{{Field: "name", After: secret}}}))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.NoError(t, w.Run(ctx))
	e := w.after(0, events.Filter{}, 1).Events[0]
	require.Equal(t, "host/ a", e.Object)
	require.LessOrEqual(t, len(e.Text), 1000)
	require.True(t, strings.HasPrefix(e.Text, "line break \uFFFD sf_…"), e.Text)
	entries, _, err := w.Entries(t.Context(), events.AuditFilter{})
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(entries), secret[12:])
}

func TestReadersLearnWhatTheyMissed(t *testing.T) {
	w := newWorld(t, func(c *events.Config) { c.Most = 3 })
	w.append("host-a", "host-b", "host-c", "host-d")
	w.submit()
	w.append("host-e")
	for {
		n, err := w.Prune(t.Context(), time.Now())
		require.NoError(t, err)
		if n == 0 {
			break
		}
	}
	require.Equal(t, []string{"host-c", "host-d", "job-queued", "host-e"}, kinds(w.after(0, events.Filter{}, 10).Events), "whoever begins anew misses nothing")
	require.Equal(t, []string{events.KindMissing, "host-c"}, kinds(w.after(1, events.Filter{}, 1).Events))
	require.Equal(t, []string{"host-c", "host-d", "job-queued", "host-e"}, kinds(w.after(2, events.Filter{}, 10).Events), "event 2 was seen, so none is missing")

	end, err := w.Last(t.Context())
	require.NoError(t, err)
	page := w.after(end+100, events.Filter{}, 10)
	require.Equal(t, []string{events.KindMissing}, kinds(page.Events), "a reader of another log must not wait for ever")
	require.Equal(t, end, page.Events[0].ID)
	require.Equal(t, end, page.Position)
	w.append("host-f")
	require.Equal(t, []string{"host-f"}, kinds(w.after(page.Position, events.Filter{}, 10).Events))
}

func TestOldEventsGo(t *testing.T) {
	w := newWorld(t, func(c *events.Config) { c.Keep = time.Hour })
	require.NoError(t, w.Append(t.Context(), events.Event{Kind: "host-old", At: time.Now().Add(-2 * time.Hour)}, events.Event{Kind: "host-new"}))
	_, err := w.Prune(t.Context(), time.Now())
	require.NoError(t, err)
	require.Equal(t, []string{"host-new"}, kinds(w.after(0, events.Filter{}, 10).Events))
	_, err = w.Prune(t.Context(), time.Now().Add(2*time.Hour))
	require.NoError(t, err)
	require.Empty(t, w.after(0, events.Filter{}, 10).Events)
	w.append("host-next")
	require.Equal(t, []string{events.KindMissing, "host-next"}, kinds(w.after(1, events.Filter{}, 10).Events), "numbers are never used again")
}

func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t)
	for _, cfg := range []events.Config{{}, {Queue: w.queue, Keep: -1}, {Queue: w.queue, KeepAudit: time.Hour}} {
		_, err := events.New(cfg)
		require.Error(t, err)
	}
}
