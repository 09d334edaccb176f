package hostile_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/runner"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// works runs an honest host whose runners take jobs and end.
func (h *host) works() *handed {
	t := h.site.t
	launched, got := make(chan backend.Spec, 1000), &handed{}
	engine := h.honest(memory.Config{Observe: func(e memory.Event) {
		if e.Kind == memory.Launched {
			got.add(e.Spec.Env["SHIPFOX_RUNNER_BOOTSTRAP_TOKEN"])
			launched <- e.Spec
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case spec := <-launched:
				all.Go(func() {
					code := 0
					if runJob(ctx, spec.Env) != nil {
						code = 1
					}
					engine.Exit(spec.ID, code)
				})
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return got
}

// handed are the secrets that runners were launched with.
type handed struct {
	mu     sync.Mutex
	tokens []string
}

func (h *handed) add(token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens = append(h.tokens, token)
}

func (h *handed) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.tokens)
}

// runJob is the one-job runner with that environment.
func runJob(ctx context.Context, env map[string]string) error {
	base, err := url.Parse(env["SHIPFOX_API_URL"])
	if err != nil {
		return err
	}
	token, err := tokens.Parse(env["SHIPFOX_RUNNER_BOOTSTRAP_TOKEN"])
	if err != nil {
		return err
	}
	return runner.Run(ctx, runner.Config{URL: base, Token: token, Labels: strings.Split(env["SHIPFOX_RUNNER_LABELS"], ","), Env: []string{"PATH=/usr/bin:/bin"}})
}

// done waits until so many jobs have ended, and says how long that took.
func (s *site) done(count int, limit time.Duration) time.Duration {
	s.t.Helper()
	began := time.Now()
	states := map[string]int{}
	require.Eventuallyf(s.t, func() bool {
		var list struct{ Items []struct{ Status string } }
		if s.ask("GET", "/api/v1/jobs?limit=500", "", &list) != nil {
			return false
		}
		counts := map[string]int{}
		for _, j := range list.Items {
			counts[j.Status]++
		}
		states = counts
		// Runners that share a process take each other's children for orphans: some fail.
		return states["succeeded"]+states["failed"] >= count
	}, limit, 50*time.Millisecond, "the jobs are not done")
	s.t.Logf("%v", states)
	return time.Since(began)
}

// failureOn is how the scale set failed last on the host.
func (s *site) failureOn(set, host string) string {
	s.t.Helper()
	var verdicts struct{ Items []client.Verdict }
	s.must("GET", "/api/v1/scale-sets/"+set+"/placement", "", &verdicts)
	for _, v := range verdicts.Items {
		if v.Host == host {
			return v.LastFailure
		}
	}
	return ""
}

// Why: a host that takes runners and fails them all waits on its own schedule. The
// scale set goes on elsewhere.
func TestAHostThatFailsAllItGetsHoldsUpNoOther(t *testing.T) {
	fails := func(code string) func(*liar, wire.Frame) string {
		return func(*liar, wire.Frame) string { return fmt.Sprintf(`,"error":{"code":%q,"message":"no"}`, code) }
	}
	ends := func(state string) func(*liar, wire.Frame) string {
		return func(l *liar, f wire.Frame) string {
			l.say(`{"type":"changes","epoch":%d,"changes":{"runners":[{"id":%q,"state":%q}]}}`, l.epoch, f.Spec.ID, state)
			return ""
		}
	}
	// It takes each runner, and at once has none.
	gone := func(l *liar, f wire.Frame) string {
		l.say(`{"type":"answer","epoch":%d,"id":%d}`, l.epoch, f.ID)
		l.say(`{"type":"changes","epoch":%d,"changes":{"gone":[%q]}}`, l.epoch, f.Spec.ID)
		return "-"
	}
	for name, launch := range map[string]func(*liar, wire.Frame) string{
		"gone":      gone,
		"invalid":   fails("invalid"),
		"exhausted": fails("exhausted"),
		"crashes":   ends("failed"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.enrol("good", 4).works()
			var l *liar
			ready := make(chan struct{})
			l = s.enrol("bad", 1000).lie(`{"cpus":1000,"os":"linux","arch":"amd64","memory":99999999999999}`, func(f wire.Frame) string {
				<-ready
				if f.Type == wire.Launch {
					return launch(l, f)
				}
				return ""
			})
			close(ready)
			s.scaleSet("small", 100)
			// Of the first ones half may go to the bad host, and what was promised to
			// them there is promised for a while. After that it gets one to try it with.
			s.jobs("small", 8)
			s.done(4, patience)
			s.jobs("small", 20)
			t.Logf("%s: %s", name, s.done(22, patience).Round(time.Millisecond))
			if name == "gone" {
				require.Eventually(t, func() bool { return strings.HasPrefix(s.failureOn("small", "bad"), "disappeared: ") }, patience, 50*time.Millisecond,
					"what vanishes is held against the host, and not against the scale set")
			}
		})
	}
}
