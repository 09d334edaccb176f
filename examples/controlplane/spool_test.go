package spool

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/controlplanetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	controlplanetest.Run(t, func(t *testing.T) controlplanetest.Harness { return &harness{dir: t.TempDir()} })
}

// harness writes jobs into the folder, and starts runners as the loop's process
// backend would.
type harness struct {
	dir   string
	spool *Spool
	jobs  int
}

func (h *harness) Traits() controlplanetest.Traits { return controlplanetest.Traits{OneStep: true} }

func (h *harness) Open(t *testing.T) provisioner.ControlPlane {
	var err error
	h.spool, err = Open(h.dir)
	require.NoError(t, err)
	return h.spool
}

// Age saves the wait for the end of a grant.
func (h *harness) Age(_ *testing.T, d time.Duration) {
	h.spool.mu.Lock()
	defer h.spool.mu.Unlock()
	for holder := range h.spool.due {
		h.spool.due[holder] = h.spool.due[holder].Add(-d)
	}
}

func (h *harness) Enqueue(t *testing.T, labels []string, n int) {
	for range n {
		h.jobs++
		submit(t, h.dir, fmt.Sprintf("%s,job-%d", strings.Join(labels, ","), h.jobs), "true")
	}
}

// submit puts a job into the queue with a rename, as whoever uses a spool does.
func submit(t *testing.T, dir, name, script string) {
	t.Helper()
	draft := filepath.Join(dir, "draft")
	require.NoError(t, os.WriteFile(draft, []byte(script), 0o600))
	require.NoError(t, os.Rename(draft, filepath.Join(dir, "queue", name)))
}

func (h *harness) Start(_ *testing.T, registration provisioner.Registration) controlplanetest.Runner {
	return runner(registration)
}

type runner provisioner.Registration

func (r runner) Take(*testing.T) bool {
	cmd := exec.Command(r.Command[0], r.Command[1:]...)
	for name, value := range r.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd.Run() == nil
}

// One job from the queue to done, and one to failed.
func TestFromQueueToDone(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	submit(t, dir, "linux,good", "echo ran > "+filepath.Join(dir, "proof"))
	submit(t, dir, "linux,bad", "exit 3")

	demand, err := s.Poll(t.Context(), provisioner.Advertisement{MaxReservations: 9, Templates: controlplanetest.Templates()})
	require.NoError(t, err)
	require.Len(t, demand.Grants, 1)
	require.Equal(t, 2, demand.Grants[0].Count)
	made, err := s.Mint(t.Context(), []provisioner.MintRequest{
		{Runner: "r1", Reservation: demand.Grants[0].Reservation}, {Runner: "r2", Reservation: demand.Grants[0].Reservation},
	})
	require.NoError(t, err)
	require.Len(t, made, 2)
	for _, r := range made {
		state := provisioner.EventFailed
		if runner(r).Take(t) {
			state = provisioner.EventStopped
		}
		require.False(t, runner(r).Take(t), "a registration starts one runner")
		require.NoError(t, s.Report(t.Context(), []provisioner.Event{{Runner: r.Runner, State: state}}))
	}
	require.FileExists(t, filepath.Join(dir, "proof"))
	require.FileExists(t, filepath.Join(dir, "failed", "r1,linux,bad"))
	require.FileExists(t, filepath.Join(dir, "done", "r2,linux,good"))
}

// What was granted and minted, and never begun, is not lost.
func TestNothingIsLostWithTheLoop(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	submit(t, dir, "linux,1", "")
	submit(t, dir, "linux,2", "")
	ad := provisioner.Advertisement{MaxReservations: 9, Templates: controlplanetest.Templates()}
	demand, err := s.Poll(t.Context(), ad)
	require.NoError(t, err)
	require.Equal(t, 2, demand.Grants[0].Count)
	made, err := s.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r1", Reservation: demand.Grants[0].Reservation}})
	require.NoError(t, err)
	require.Len(t, made, 1)

	s, err = Open(dir)
	require.NoError(t, err)
	demand, err = s.Poll(t.Context(), ad)
	require.NoError(t, err)
	require.Equal(t, 1, demand.Grants[0].Count, "the one that was granted; the other's runner may be on its way")
	s.due["r1"] = time.Now().Add(-time.Second) // it never came
	demand, err = s.Poll(t.Context(), ad)
	require.NoError(t, err)
	require.Equal(t, 1, demand.Grants[0].Count)
	require.False(t, runner(made[0]).Take(t), "it comes too late")
}
