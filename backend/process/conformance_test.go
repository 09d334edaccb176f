package process

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/backendtest"
)

func TestConformance(t *testing.T) {
	backendtest.RunParallel(t, func(t *testing.T) backendtest.Harness { return &harness{dir: filepath.Join(t.TempDir(), "runners")} })
}

const testRoom = 12

type harness struct {
	dir   string
	opens []*Backend
}

func (h *harness) Open(t *testing.T, owner string) backend.Backend {
	b, err := New(Config{Owner: owner, Dir: h.dir, StopGrace: 100 * time.Millisecond, MaxRunners: testRoom})
	require.NoError(t, err)
	h.opens = append(h.opens, b)
	return b
}

func (h *harness) Reopen(t *testing.T, owner string) backend.Backend { return h.Open(t, owner) }

func (h *harness) Runs() backend.Spec { return backend.Spec{Command: []string{"sleep", "600"}} }

func (h *harness) Exits(code int) backend.Spec {
	return backend.Spec{Command: []string{"sh", "-c", "exit " + strconv.Itoa(code)}}
}

func (h *harness) Prints(lines []string) backend.Spec {
	return backend.Spec{Command: []string{"printf", `%s\n`, strings.Join(lines, "\n")}}
}

func (h *harness) Tells() backend.Spec {
	return backend.Spec{Command: []string{"sh", "-c", "env >&2; exec sleep 600"}}
}

// Lacks is all about isolation, and other platforms.
func (h *harness) Lacks() []string {
	return []string{"OS", "Arch", "InjectRunner", "User", "GPUs", "ShmSize", "PidsLimit", "Runtime", "Network", "Mounts", "Tmpfs", "CapAdd", "CapDrop", "Privileged", "ReadOnly"}
}

// Stall takes the lock of the runner, as a supervisor does that hangs.
func (h *harness) Stall(t *testing.T, id string) <-chan struct{} {
	lock, err := tryLock(h.opens[0].folder.lock(id), true)
	require.NoError(t, err)
	t.Cleanup(lock.release)
	reached := make(chan struct{})
	close(reached) // who waits for a lock can't be seen
	return reached
}

func (h *harness) Invalid() backend.Spec {
	return backend.Spec{Command: []string{"no-such-program-here"}}
}

func (h *harness) Room() int { return testRoom }

func (h *harness) Patience() time.Duration { return patience }

// state finds a runner's state, whoever owns it.
func (h *harness) state(t *testing.T, id string) *state {
	for _, b := range h.opens {
		if st, err := b.folder.read(id); err == nil {
			return st
		}
	}
	require.FailNow(t, "no state", id)
	return nil
}

func (h *harness) Kill(t *testing.T, id string) {
	require.NoError(t, signalTo(h.state(t, id).Main, syscall.SIGKILL))
}

func (h *harness) Alive(t *testing.T, id string) int {
	pids := map[int]bool{} // several owners may have been opened twice
	for _, b := range h.opens {
		for _, pid := range alive(t, b, id) {
			pids[pid] = true
		}
	}
	return len(pids)
}

func (h *harness) Break(t *testing.T) { require.NoError(t, os.Rename(h.dir, h.dir+".away")) }
func (h *harness) Mend(t *testing.T)  { require.NoError(t, os.Rename(h.dir+".away", h.dir)) }

// Strangers puts near misses beside the runners of owner: each lacks one thing.
func (h *harness) Strangers(t *testing.T, owner string) func(t *testing.T) {
	f := newFolder(h.dir, owner)
	write := func(dir, id string, st state) {
		require.NoError(t, os.MkdirAll(dir, 0o700))
		if st.Version == 0 {
			st.Version = stateVersion
		}
		st.Owner, st.Phase, st.Created = strings.TrimSuffix(owner+st.Owner, "!"), phaseEnded, time.Now()
		st.ID = id
		require.NoError(t, st.write(dir))
	}
	short := newID(t)
	dirs := []string{f.runner(newID(t)), f.runner(newID(t)), f.runner("not-an-id"), f.runner(strings.ToUpper(newID(t))), f.runner(newID(t)), f.runner(short), f.runner(newID(t))}
	write(dirs[0], filepath.Base(dirs[0]), state{Owner: "-and-more"})        // an owner whose name begins like ours
	write(dirs[1], newID(t), state{})                                        // another id
	write(dirs[2], "not-an-id", state{})                                     // a bad id
	write(dirs[3], filepath.Base(dirs[3]), state{})                          // an id that is not canonical
	write(dirs[4], filepath.Base(dirs[4]), state{Version: stateVersion + 1}) // another form
	require.NoError(t, os.MkdirAll(filepath.Join(dirs[5], "home"), 0o700))   // no state
	require.NoError(t, os.MkdirAll(statePath(dirs[6]), 0o700))               // a folder for a state
	file := f.runner(newID(t))
	require.NoError(t, os.WriteFile(file, []byte("mine"), 0o600))
	return func(t *testing.T) {
		for _, path := range append(dirs, file) {
			_, err := os.Stat(path)
			require.NoError(t, err, "it was touched")
			require.NoError(t, os.RemoveAll(path))
		}
	}
}
