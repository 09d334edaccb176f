package backendtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// canary stands in the environment of every runner, and nowhere else.
const (
	canaryName  = "SLIPWAY_CANARY_NAME"
	canaryValue = "canary-c5d1f0b2-never-told-back"
)

// ownLabel is a label of every runner, with its id: labels of another show.
const ownLabel = "own-id"

// suite is the state of one subtest.
type suite struct {
	*testing.T
	harness  Harness
	patience time.Duration
	owner    string
	b        backend.Backend // of owner
	opened   map[string]int  // how often, by owner
}

func newSuite(t *testing.T, h Harness) *suite {
	s := &suite{T: t, harness: h, patience: time.Minute, owner: "owner-" + uuid.NewString(), opened: map[string]int{}}
	if p, ok := h.(Patient); ok {
		s.patience = p.Patience()
	}
	s.b = s.open(s.owner)
	return s
}

func (s *suite) open(owner string) backend.Backend {
	s.Helper()
	return s.opens(owner, s.harness.Open(s.T, owner))
}

// reopen is what a restart does to the first owner.
func (s *suite) reopen(r Reopener) {
	s.Helper()
	s.b = s.opens(s.owner, r.Reopen(s.T, s.owner))
}

// opens remembers who is open. What was launched is removed before the harness
// cleans up after its own Open.
func (s *suite) opens(owner string, b backend.Backend) backend.Backend {
	s.opened[owner]++
	nth := s.opened[owner]
	s.Cleanup(func() {
		if s.opened[owner] == nth { // else it was reopened
			s.clear(owner, b)
		}
	})
	return b
}

// clear removes what the subtest launched. An engine that was just mended may
// need a moment.
func (s *suite) clear(owner string, b backend.Backend) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context()), s.patience)
	defer cancel()
	err := clearOwner(ctx, b)
	for err != nil && ctx.Err() == nil {
		<-time.After(100 * time.Millisecond)
		err = clearOwner(ctx, b)
	}
	if err != nil {
		s.Errorf("clean up %s: %v", owner, err)
	}
}

func clearOwner(ctx context.Context, b backend.Backend) error {
	listing, err := b.List(ctx)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	return errors.Join(together(len(listing.Runners), func(i int) error {
		return b.Remove(ctx, listing.Runners[i].ID)
	})...)
}

// need returns the harness's ability A, or skips the subtest by its name.
func need[A any](s *suite) A {
	s.Helper()
	a, ok := s.harness.(A)
	if !ok {
		s.Skipf("the harness is no %s", strings.TrimPrefix(fmt.Sprintf("%T", (*A)(nil)), "*"))
	}
	return a
}

// ctx is for one call or one wait.
func (s *suite) ctx() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), s.patience)
	s.Cleanup(cancel)
	return ctx
}

// spec makes the harness's spec into one of a new runner.
func (s *suite) spec(of backend.Spec) backend.Spec {
	id, err := uuid.NewV7()
	require.NoError(s, err)
	of.ID = id.String()
	of.Labels = map[string]string{"template": "small", "labels": "linux,x64", ownLabel: of.ID}
	env := map[string]string{canaryName: canaryValue}
	maps.Copy(env, of.Env)
	of.Env = env
	return of
}

// launch launches a runner of the harness's spec, and returns its id.
func (s *suite) launch(of backend.Spec) string {
	s.Helper()
	spec := s.spec(of)
	s.launchSpec(s.b, spec)
	return spec.ID
}

// launchSpec launches with a ctx that ends when Launch has returned: it bounds the
// call, not the runner.
func (s *suite) launchSpec(b backend.Backend, spec backend.Spec) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), s.patience)
	defer cancel()
	require.NoError(s, b.Launch(ctx, spec), "launch")
}

// running launches a runner that runs, and waits until it does.
func (s *suite) running() string {
	s.Helper()
	id := s.launch(s.harness.Runs())
	s.runs(id)
	return id
}

// runs waits until the runner id runs.
func (s *suite) runs(id string) backend.Runner {
	s.Helper()
	r := s.until(s.b, id, "it runs", func(r backend.Runner) bool { return r.State == backend.Running || r.State.Ended() })
	require.Equal(s, backend.Running, r.State, "a runner that runs until it is told to end: %s", describe(r))
	return r
}

// list lists, and checks what holds for every listing.
func (s *suite) list(b backend.Backend) backend.Listing {
	s.Helper()
	before := time.Now()
	listing, err := b.List(s.ctx())
	require.NoError(s, err, "list")
	require.NoError(s, sane(listing, before), "a listing that contradicts itself")
	return listing
}

// find lists, and returns the runner id; false: it is not there.
func (s *suite) find(b backend.Backend, id string) (backend.Runner, bool) {
	s.Helper()
	return pick(s.list(b), id)
}

// must is find of what must be there.
func (s *suite) must(b backend.Backend, id string) backend.Runner {
	s.Helper()
	r, ok := s.find(b, id)
	require.True(s, ok, "runner %s is not listed", id)
	return r
}

// gone fails when the runner id is listed.
func (s *suite) gone(b backend.Backend, id string) {
	s.Helper()
	r, ok := s.find(b, id)
	require.False(s, ok, "runner %s is still listed: %+v", id, r)
}

func pick(listing backend.Listing, id string) (backend.Runner, bool) {
	i := slices.IndexFunc(listing.Runners, func(r backend.Runner) bool { return r.ID == id })
	if i < 0 {
		return backend.Runner{}, false
	}
	return listing.Runners[i], true
}

// until waits for the runner id to be as wanted. It must be listed all the time.
func (s *suite) until(b backend.Backend, id, what string, wanted func(backend.Runner) bool) backend.Runner {
	s.Helper()
	var r backend.Runner
	s.eventually(what, func() bool {
		r = s.must(b, id)
		return wanted(r)
	}, func() string { return fmt.Sprintf("last seen: %+v", r) })
	return r
}

// ended waits for the end of the runner id.
func (s *suite) ended(b backend.Backend, id string) backend.Runner {
	s.Helper()
	return s.until(b, id, "its process has ended", func(r backend.Runner) bool { return r.State.Ended() })
}

// eventually asks until the answer is yes, and gives up after the patience.
func (s *suite) eventually(what string, holds func() bool, last ...func() string) {
	s.Helper()
	deadline := time.Now().Add(s.patience)
	pause := 5 * time.Millisecond
	for !holds() {
		if time.Now().After(deadline) {
			text := ""
			for _, tell := range last {
				text += "\n" + tell()
			}
			require.FailNowf(s, "waited in vain", "for %v, until %s%s", s.patience, what, text)
		}
		select {
		case <-time.After(pause):
		case <-s.Context().Done():
		}
		pause = min(2*pause, 200*time.Millisecond)
	}
}

// soon calls f with a ctx that ends after d, and fails when f does not return
// soon after that.
func (s *suite) soon(what string, d time.Duration, f func(context.Context) error) error {
	s.Helper()
	err := s.bounded(d, f)
	if errors.Is(err, errOutlives) {
		require.FailNowf(s, "a call outlives its context", "%s still waits %v after its ctx has ended", what, grace)
	}
	return err
}

var errOutlives = errors.New("the call outlives its context")

// bounded is soon for any goroutine.
func (s *suite) bounded(d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(s.Context(), d)
	defer cancel()
	if d <= 0 {
		cancel()
	}
	answer := make(chan error, 1)
	go func() { answer <- f(ctx) }()
	select {
	case err := <-answer:
		return err
	case <-time.After(d + grace):
		return errOutlives
	}
}

// grace is what "soon after ctx ends" means.
const grace = 15 * time.Second

// together calls f n times at once, and returns the answers.
func together(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}
