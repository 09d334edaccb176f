package backendtest_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/backendtest"
	"github.com/slipway-ci/slipway/backend/memory"
)

// A suite that lets a defect pass is one itself: each defect below breaks one
// promise of a backend that keeps all of them, and the suite must notice.

// chosen names the defect to run in a process of its own.
const chosen = "BACKENDTEST_DEFECT"

func TestEachDefectIsNoticed(t *testing.T) {
	for name, d := range defects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pattern := "^TestDefective$"
			for part := range strings.SplitSeq(d.promise, "/") {
				pattern += "/^" + regexp.QuoteMeta(strings.ReplaceAll(part, " ", "_")) + "$"
			}
			run := exec.Command(os.Args[0], "-test.run="+pattern, "-test.v", "-test.timeout=60s")
			run.Env = append(os.Environ(), chosen+"="+name)
			out, err := run.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "the suite is content with it:\n%s", out)
			require.Contains(t, string(out), "--- FAIL: TestDefective/"+strings.ReplaceAll(d.promise, " ", "_"))
			require.Contains(t, string(out), "why it matters: ")
		})
	}
}

func TestDefective(t *testing.T) {
	d, ok := defects[os.Getenv(chosen)]
	if !ok {
		t.Skip("runs in the processes of TestEachDefectIsNoticed")
	}
	backendtest.Run(t, func(*testing.T) backendtest.Harness { return newHarness(d) })
}

func TestSoundBackend(t *testing.T) {
	backendtest.RunParallel(t, func(*testing.T) backendtest.Harness { return newHarness(defect{}) })
}

// defect replaces methods of a sound backend.
type defect struct {
	promise  string
	launch   func(context.Context, *wrapped, backend.Spec) error
	list     func(context.Context, *wrapped) (backend.Listing, error)
	each     func(*wrapped, *backend.Runner) // changes a listed runner
	remove   func(context.Context, *wrapped, string) error
	watch    func(context.Context, func()) error
	capacity func([]int) []int
	logs     func(ctx context.Context, w *wrapped, id, text string) (string, error)
}

type wrapped struct {
	*memory.Backend
	defect
	h     *harness
	owner string

	mu   sync.Mutex
	seen map[string]backend.Spec
	turn chan struct{} // a lock that ends with a context
}

func newWrapped(h *harness, owner string) *wrapped {
	return &wrapped{Backend: h.engine.Backend(owner), defect: h.defect, h: h, owner: owner, seen: map[string]backend.Spec{}, turn: make(chan struct{}, 1)}
}

// lockTurn takes the lock for one call.
func (w *wrapped) lockTurn(ctx context.Context) (unlock func(), err error) {
	select {
	case w.turn <- struct{}{}:
		return func() { <-w.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *wrapped) Launch(ctx context.Context, spec backend.Spec) error {
	w.mu.Lock()
	w.seen[spec.ID] = spec
	w.mu.Unlock()
	if w.launch != nil {
		return w.launch(ctx, w, spec)
	}
	return w.Backend.Launch(ctx, spec)
}

func (w *wrapped) List(ctx context.Context) (backend.Listing, error) {
	if w.list != nil {
		return w.list(ctx, w)
	}
	listing, err := w.Backend.List(ctx)
	for i := range listing.Runners {
		if w.each != nil {
			w.each(w, &listing.Runners[i])
		}
	}
	return listing, err
}

func (w *wrapped) Remove(ctx context.Context, id string) error {
	if w.remove != nil {
		return w.remove(ctx, w, id)
	}
	return w.Backend.Remove(ctx, id)
}

func (w *wrapped) Watch(ctx context.Context, wake func()) error {
	if w.watch != nil {
		return w.watch(ctx, wake)
	}
	return w.Backend.Watch(ctx, wake)
}

func (w *wrapped) Capacity(ctx context.Context, specs []backend.Spec) ([]int, error) {
	room, err := w.Backend.Capacity(ctx, specs)
	if w.capacity != nil && err == nil {
		room = w.capacity(room)
	}
	return room, err
}

func (w *wrapped) Logs(ctx context.Context, id string, tail int) (io.ReadCloser, error) {
	log, err := w.Backend.Logs(ctx, id, tail)
	if w.logs == nil {
		return log, err
	}
	text := ""
	if err == nil {
		all, _ := io.ReadAll(log)
		text = string(all)
	}
	text, err = w.logs(ctx, w, id, text)
	return io.NopCloser(strings.NewReader(text)), err
}

var errLost = errors.New("connection reset")

var defects = map[string]defect{
	"second launch told as new": {promise: "launch/twice", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		if err := w.Backend.Launch(ctx, spec); !errors.Is(err, backend.ErrExists) {
			return err
		}
		return nil
	}},
	"overtaken launch told as a conflict": {promise: "launch/twice in parallel", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		if err := w.Backend.Launch(ctx, spec); !errors.Is(err, backend.ErrExists) {
			return err
		}
		return errLost
	}},
	"ended runner started anew": {promise: "launch/again after the end", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		if errors.Is(w.Backend.Launch(ctx, spec), backend.ErrExists) {
			_ = w.Backend.Remove(ctx, spec.ID)
			_ = w.Backend.Launch(ctx, spec)
			return backend.ErrExists
		}
		return nil
	}},
	"listing older than it says": {promise: "list/began", list: func(ctx context.Context, w *wrapped) (backend.Listing, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.seen) > 0 && w.seen[""].Image == "" {
			w.seen[""] = backend.Spec{Image: "asked once"}
			return backend.Listing{Began: time.Now()}, nil
		}
		return w.Backend.List(ctx)
	}},
	"listing without an order": {promise: "launch/many in parallel", list: func(ctx context.Context, w *wrapped) (backend.Listing, error) {
		listing, err := w.Backend.List(ctx)
		slices.Reverse(listing.Runners)
		return listing, err
	}},
	"same map given out twice": {promise: "launch/keeps no hold of the spec", each: func(w *wrapped, r *backend.Runner) {
		w.mu.Lock()
		defer w.mu.Unlock()
		r.Labels = w.seen[r.ID].Labels
	}},
	"labels trimmed": {promise: "list/labels verbatim", each: func(_ *wrapped, r *backend.Runner) {
		for k, v := range r.Labels {
			r.Labels[k] = strings.TrimSpace(v)
		}
	}},
	"owner shown as a label": {promise: "list/no labels", each: func(w *wrapped, r *backend.Runner) {
		r.Labels = map[string]string{"owner": w.owner}
	}},
	"environment told": {promise: "list/environment not told", each: func(w *wrapped, r *backend.Runner) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for k, v := range w.seen[r.ID].Env {
			r.Error += k + "=" + v
		}
	}},
	"forgets how they ended": {promise: "list/after a restart", each: func(w *wrapped, r *backend.Runner) {
		if _, launchedHere := w.seen[r.ID]; !launchedHere {
			r.ExitCode = nil
		}
	}},
	"invalid told without its class": {promise: "launch/invalid", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		if err := w.Backend.Launch(ctx, spec); err != nil {
			return errors.New(err.Error())
		}
		return nil
	}},
	"invalid made all the same": {promise: "launch/invalid", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		err := w.Backend.Launch(ctx, spec)
		if err != nil {
			spec.Command = []string{"run"}
			_ = w.Backend.Launch(ctx, spec)
		}
		return err
	}},
	"exit code lost": {promise: "state/failed", each: func(_ *wrapped, r *backend.Runner) {
		if r.State == backend.Failed {
			one := 1
			r.ExitCode = &one
		}
	}},
	"killed told as signal 9": {promise: "state/killed", each: func(_ *wrapped, r *backend.Runner) {
		if r.ExitCode != nil && *r.ExitCode > 128 {
			*r.ExitCode -= 128
		}
	}},
	"lack of memory not told":   {promise: "state/out of memory", each: func(_ *wrapped, r *backend.Runner) { r.OOMKilled = false }},
	"every kill told as a lack": {promise: "state/killed", each: func(_ *wrapped, r *backend.Runner) { r.OOMKilled = r.State == backend.Failed }},
	"ended ones vanish": {promise: "state/ended ones stay", list: func(ctx context.Context, w *wrapped) (backend.Listing, error) {
		listing, err := w.Backend.List(ctx)
		for _, r := range listing.Runners {
			if r.State.Ended() {
				_ = w.Backend.Remove(ctx, r.ID)
			}
		}
		return listing, err
	}},
	"remove only asks": {promise: "remove/running", remove: func(ctx context.Context, w *wrapped, id string) error {
		ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_ = w.Backend.Remove(ctx, id)
		return nil
	}},
	"remove of the unknown fails": {promise: "remove/unknown", remove: func(ctx context.Context, w *wrapped, id string) error {
		if _, err := w.Backend.Logs(ctx, id, 0); err != nil {
			return err
		}
		return w.Backend.Remove(ctx, id)
	}},
	"remove takes all": {promise: "remove/leaves the others", remove: func(ctx context.Context, w *wrapped, _ string) error {
		listing, err := w.Backend.List(ctx)
		for _, r := range listing.Runners {
			err = errors.Join(err, w.Backend.Remove(ctx, r.ID))
		}
		return err
	}},
	"owners told apart by a prefix": {promise: "owner/sees its own only", list: func(ctx context.Context, w *wrapped) (backend.Listing, error) {
		return w.h.everyones(ctx, func(owner string) bool { return strings.HasPrefix(owner, w.owner) })
	}},
	"owners told apart by sound": {promise: "owner/strangers are left alone", list: func(ctx context.Context, w *wrapped) (backend.Listing, error) {
		return w.h.everyones(ctx, func(owner string) bool { return strings.EqualFold(owner, w.owner) })
	}},
	"another's runner removed": {promise: "owner/removes its own only", remove: func(_ context.Context, w *wrapped, id string) error {
		w.h.engine.Lose(id)
		return nil
	}},
	"another's id told as success": {promise: "owner/launches beside another's", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		if err := w.Backend.Launch(ctx, spec); err != nil {
			return backend.ErrExists
		}
		return nil
	}},
	"cut off told as not made": {promise: "interrupted/launch, then again", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		_ = w.Backend.Launch(context.WithoutCancel(ctx), spec)
		if ctx.Err() != nil {
			return backend.ErrUnavailable
		}
		return nil
	}},
	"cut off and never finished": {promise: "interrupted/launch, then again", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		w.mu.Lock()
		_, before := w.seen["tried "+spec.ID]
		w.seen["tried "+spec.ID] = spec
		w.mu.Unlock()
		if before {
			return backend.ErrExists
		}
		return w.Backend.Launch(ctx, spec)
	}},
	"launches with a context that is over": {promise: "interrupted/launch before it began", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		return w.Backend.Launch(context.WithoutCancel(ctx), spec)
	}},
	"cut off listing told as whole": {promise: "interrupted/list", list: func(ctx context.Context, w *wrapped) (backend.Listing, error) {
		listing, err := w.Backend.List(ctx)
		if err != nil {
			return backend.Listing{Began: time.Now()}, nil
		}
		return listing, nil
	}},
	"nothing seen told as nothing there": {promise: "outage/list", list: func(ctx context.Context, w *wrapped) (backend.Listing, error) {
		listing, err := w.Backend.List(ctx)
		if err != nil {
			return backend.Listing{Began: time.Now()}, nil
		}
		return listing, nil
	}},
	"launch queued for later": {promise: "outage/launch", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		if err := w.Backend.Launch(ctx, spec); !errors.Is(err, backend.ErrUnavailable) {
			return err
		}
		return nil
	}},
	"unreachable told as gone": {promise: "outage/remove", remove: func(ctx context.Context, w *wrapped, id string) error {
		_ = w.Backend.Remove(ctx, id)
		return nil
	}},
	"lost answers told as not made": {promise: "outage/in the middle of launches", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		err := w.Backend.Launch(ctx, spec)
		if errors.Is(err, backend.ErrUnavailable) {
			w.h.engine.SetOnline("", true)
			_ = w.Backend.Launch(ctx, spec)
			w.h.engine.SetOnline("", false)
		}
		return err
	}},
	"never wakes": {promise: "watch/wakes", watch: func(ctx context.Context, wake func()) error {
		wake()
		<-ctx.Done()
		return ctx.Err()
	}},
	"watch ends without a reason": {promise: "watch/ends with its context", watch: func(ctx context.Context, wake func()) error {
		wake()
		<-ctx.Done()
		return nil
	}},
	"one room for all": {promise: "capacity/told for each spec", capacity: func(room []int) []int { return room[:min(1, len(room))] }},
	"log backwards": {promise: "logs/in order", logs: func(_ context.Context, _ *wrapped, _, text string) (string, error) {
		lines := strings.SplitAfter(text, "\n")
		slices.Reverse(lines)
		return strings.Join(lines, ""), nil
	}},
	"no log told as empty": {promise: "logs/unknown", logs: func(_ context.Context, _ *wrapped, _, text string) (string, error) { return text, nil }},
}
