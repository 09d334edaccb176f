package process

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// patience is how long a test waits for what takes milliseconds.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	Main()
	if os.Getenv(roleName) != "" {
		os.Exit(play(os.Args[1:]))
	}
	code := m.Run()
	children.collect()
	if len(children.locks) > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "supervisors are left: %v\n", children.locks)
		code = 1
	}
	os.Exit(code)
}

// open opens a backend whose runners are gone when the test ends, files and
// processes.
func open(t *testing.T, c Config) *Backend {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Owner == "" {
		c.Owner = "owner"
	}
	if c.StopGrace == 0 {
		c.StopGrace = 100 * time.Millisecond
	}
	b, err := New(c)
	require.NoError(t, err)
	t.Cleanup(func() { clear(t, b) })
	return b
}

func clear(t *testing.T, b *Backend) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	names, err := ids(filepath.Join(b.folder.path, locksName))
	if err != nil {
		return // the test has removed it
	}
	for _, id := range names {
		if err := b.Remove(ctx, id); err != nil {
			t.Errorf("clean up: %v", err)
		}
		if left := alive(t, b, id); len(left) > 0 {
			t.Errorf("processes %v of runner %s are left", left, id)
		}
	}
}

func newID(t *testing.T) string {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id.String()
}

// within is a context for one call.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// shell is a spec that runs a script.
func shell(t *testing.T, script string) backend.Spec {
	t.Helper()
	return backend.Spec{ID: newID(t), Command: []string{"sh", "-c", script}}
}

func launch(t *testing.T, b *Backend, spec backend.Spec) string {
	t.Helper()
	require.NoError(t, b.Launch(within(t), spec))
	return spec.ID
}

func look(t *testing.T, b *Backend, id string) (backend.Runner, bool) {
	t.Helper()
	listing, err := b.List(within(t))
	require.NoError(t, err)
	for _, r := range listing.Runners {
		if r.ID == id {
			return r, true
		}
	}
	return backend.Runner{}, false
}

// eventually is require.Eventually with the patience of these tests.
func eventually(t *testing.T, holds func() bool, what string, args ...any) {
	t.Helper()
	require.Eventuallyf(t, holds, patience, 5*time.Millisecond, what, args...)
}

// until waits for a runner's state.
func until(t *testing.T, b *Backend, id string, wanted ...backend.State) backend.Runner {
	t.Helper()
	var r backend.Runner
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		var ok bool
		r, ok = look(t, b, id)
		require.True(t, ok, "runner %s is not listed", id)
		for _, state := range wanted {
			if r.State == state {
				return r
			}
		}
		<-time.After(5 * time.Millisecond)
	}
	require.FailNowf(t, "wrong state", "runner is not %v: %+v", wanted, r)
	return r
}

func ended(t *testing.T, b *Backend, id string) backend.Runner {
	t.Helper()
	return until(t, b, id, backend.Exited, backend.Failed)
}

// printedBy is what the runner has printed.
func printedBy(t *testing.T, b *Backend, id string) string {
	t.Helper()
	text, err := b.logs(within(t), id)
	require.NoError(t, err)
	return string(text)
}

// printed waits for a line of output.
func printed(t *testing.T, b *Backend, id, line string) {
	t.Helper()
	eventually(t, func() bool { return strings.Contains(printedBy(t, b, id), line+"\n") }, "runner prints %q", line)
}

// stateOf reads the runner's state file.
func stateOf(t *testing.T, b *Backend, id string) *state {
	t.Helper()
	st, err := b.folder.read(id)
	require.NoError(t, err)
	return st
}

// alive returns the processes that carry the runner's mark, its supervisor's
// left out.
func alive(t *testing.T, b *Backend, id string) []int {
	t.Helper()
	return withEnv(t, markerName+"="+marker(b.folder.runner(id)))
}

// runsOnce waits for exactly one process of the runner: one that is just becoming
// another program has no environment for a moment, and is not seen.
func runsOnce(t *testing.T, b *Backend, id string) {
	t.Helper()
	eventually(t, func() bool { return len(alive(t, b, id)) == 1 }, "it runs once")
}

func withEnv(t *testing.T, setting string) []int {
	t.Helper()
	table, err := processes()
	require.NoError(t, err)
	var pids []int
	for _, p := range table {
		if !p.zombie && hasEnv(p.Pid, []string{setting}) {
			pids = append(pids, p.Pid)
		}
	}
	return pids
}

// roleName is set in processes that tests start from this program.
const roleName = "SLIPWAY_PROCESS_TEST_ROLE"

// play is the main of those.
func play(args []string) int {
	if err := roles[os.Getenv(roleName)](args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
