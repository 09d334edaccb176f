package events_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/tokens"
)

// roster is a backend that lists what the test says.
type roster struct {
	backend.Backend
	mu      sync.Mutex
	runners []backend.Runner
	changed chan struct{}
	sets    int
	shown   int // of the sets
	looks   int
}

func (r *roster) List(context.Context) (backend.Listing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks, r.shown = r.looks+1, r.sets
	return backend.Listing{Runners: append([]backend.Runner{}, r.runners...)}, nil
}

func (r *roster) Watch(ctx context.Context, wake func()) error {
	for {
		select {
		case <-r.changed:
			wake()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *roster) set(list ...backend.Runner) {
	r.mu.Lock()
	r.runners, r.sets = list, r.sets+1
	r.mu.Unlock()
	r.changed <- struct{}{}
}

func runner(id string, state backend.State) backend.Runner {
	return backend.Runner{ID: id, State: state, Host: "a", Labels: map[string]string{provisioner.LabelTemplate: "linux"}}
}

func TestRunnersAreFollowed(t *testing.T) {
	w := newWorld(t, func(c *events.Config) { c.RunnerPace = 5 * time.Millisecond })
	b := &roster{changed: make(chan struct{}), runners: []backend.Runner{runner("old", backend.Running), runner("away", backend.Unknown)}}
	ctx, stop := context.WithCancel(t.Context())
	var ran sync.WaitGroup
	for _, part := range []func() error{func() error { return w.Run(ctx) }, func() error { return w.FollowRunners(ctx, b) }} {
		ran.Go(func() {
			if err := part(); err != nil {
				t.Error(err)
			}
		})
	}
	defer ran.Wait()
	defer stop()
	texts := func() (out []string) {
		for _, e := range w.after(0, events.Filter{}, 100).Events {
			out = append(out, e.Kind+" "+e.Object+": "+e.Text)
		}
		return out
	}
	looked := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.looks
	}
	require.Eventually(t, func() bool { return looked() > 0 }, 30*time.Second, time.Millisecond)
	b.set(runner("old", backend.Unknown), runner("away", backend.Running), runner("new", backend.Starting))
	require.Eventually(t, func() bool { return len(texts()) == 1 }, 20*time.Second, 10*time.Millisecond)
	b.set(runner("old", backend.Running), runner("away", backend.Exited), runner("new", backend.Failed))
	require.Eventually(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.shown == b.sets }, 20*time.Second, time.Millisecond)
	b.set(runner("old", backend.Running), runner("new", backend.Running))
	require.Eventually(t, func() bool { return len(texts()) == 2 }, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, []string{
		"runner-started runner/new: started, of scale set linux on a",
		"runner-back runner/new: is there again, of scale set linux on a",
	}, texts(), "how they end is told by Ended")
}

// An end is one event, with its reason, its exit code and the backend's words.
func TestEndsSayWhy(t *testing.T) {
	w := newWorld(t)
	secret := tokens.New(tokens.Bootstrap).Reveal()
	code := 137
	end := provisioner.End{Template: "linux", Host: "a", Registered: provisioner.No, Worked: provisioner.No}
	for _, change := range []func(*provisioner.End){
		func(e *provisioner.End) {
			e.Runner, e.State, e.Reason = "late", provisioner.EventTerminated, provisioner.ReasonRegistrationDeadline
		},
		func(e *provisioner.End) {
			e.Runner, e.State, e.Reason, e.ExitCode, e.Text = "big", provisioner.EventFailed, "out-of-memory", &code, "killed "+secret
		},
		func(e *provisioner.End) {
			e.Runner, e.State, e.Reason, e.Text, e.Host = "evil", provisioner.EventFailed, "refused", "host a: image evil:1 is not allowed", ""
		},
		func(e *provisioner.End) {
			e.Runner, e.State, e.Reason, e.ExitCode, e.Job, e.Worked = "good", provisioner.EventStopped, "exit-code", new(int), "job-1", provisioner.Yes
		},
		func(e *provisioner.End) {
			e.Runner, e.State, e.Reason, e.Text, e.Job, e.Worked = "lost", provisioner.EventFailed, "failed", "host-lost", "job-2", provisioner.Yes
		},
	} {
		e := end
		change(&e)
		w.Ended(e)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.NoError(t, w.Run(ctx), "what was told is stored")
	var texts []string
	for _, e := range w.after(0, events.Filter{}, 100).Events {
		require.NotContains(t, e.Text, secret)
		texts = append(texts, e.Kind+" "+e.Object+": "+strings.ReplaceAll(e.Text, tokens.Redact(secret), "#"))
	}
	require.Equal(t, []string{
		"runner-removed runner/late: ended by us: registration-deadline, never registered, of scale set linux on a",
		"runner-failed runner/big: failed: out-of-memory, exit code 137 (killed #), never registered, of scale set linux on a",
		"runner-failed runner/evil: not launched: refused (host a: image evil:1 is not allowed), never registered, of scale set linux",
		"runner-exited runner/good: ended with exit code 0, had job job-1, of scale set linux on a",
		"runner-failed runner/lost: failed (host-lost), had job job-2, of scale set linux on a",
	}, texts)
}

// A hub that starts again tells no runner's end twice; one that came back ends anew.
func TestAnEndIsStoredOnce(t *testing.T) {
	w := newWorld(t)
	tell := func(kind string) {
		require.NoError(t, w.Append(t.Context(), events.Event{Kind: kind, Object: "runner/r1", Text: kind}))
	}
	for _, kind := range []string{"runner-started", "runner-failed", "runner-failed", "runner-removed", "runner-back", "runner-exited"} {
		tell(kind)
	}
	require.NoError(t, w.Append(t.Context(), events.Event{Kind: "runner-failed", Object: "runner/r2", Text: "another"}))
	require.Equal(t, []string{"runner-started", "runner-failed", "runner-back", "runner-exited", "runner-failed"}, kinds(w.after(0, events.Filter{}, 100).Events))
}
