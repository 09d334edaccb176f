package dispatch_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/plane"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
	"github.com/slipway-ci/slipway/provisioner"
)

// Why a scale set's runners do no job must be seen from here: what its loop told of
// each one's end, whether it ever came, and what it ran.
func TestRunnerEndsTellWhatTheLoopSaidLast(t *testing.T) {
	w := queuetest.New(t)
	plane, err := plane.New(t.Context(), w.Queue, plane.Config{RunnerURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	tell := func(id string, state provisioner.EventState, reason string) {
		t.Helper()
		event := provisioner.Event{Runner: id, State: state, Reason: reason, At: time.Now()}
		require.NoError(t, plane.Report(t.Context(), []provisioner.Event{event}))
	}
	mint := func(id string) {
		t.Helper()
		_, err := plane.Mint(t.Context(), []provisioner.MintRequest{{Runner: id, Template: "t", Labels: []string{"a"}}})
		require.NoError(t, err)
	}
	mint("minted")
	mint("silent")
	tell("silent", provisioner.EventRunning, "")
	tell("silent", provisioner.EventStopping, "registration-deadline")
	tell("silent", provisioner.EventTerminated, "registration-deadline")
	tell("silent", provisioner.EventRunning, "late")
	w.Enrolled(queuetest.Self(t, plane), "", "idle", "a")
	tell("idle", provisioner.EventStopped, "exit-code: 0")
	job, _ := w.Running(queuetest.Self(t, plane), "busy", queue.JobSpec{Labels: []string{"b"}}, true)
	tell("busy", provisioner.EventFailed, "exit-code: 137")

	ends, err := w.RunnerEnds(t.Context(), []string{"minted", "silent", "idle", "busy", "unknown", "silent"})
	require.NoError(t, err)
	for id, end := range ends {
		require.Equal(t, end.State.Terminal(), !end.EndedAt.IsZero(), id)
		end.EndedAt = time.Time{}
		ends[id] = end
	}
	require.Equal(t, map[string]queue.RunnerEnd{
		"minted": {State: queue.RunnerStarting},
		"silent": {State: queue.RunnerTerminated, Reason: "registration-deadline"},
		"idle":   {State: queue.RunnerStopped, Reason: "exit-code: 0", Registered: true},
		"busy":   {State: queue.RunnerFailed, Reason: "exit-code: 137", Registered: true, Job: job.ID},
	}, ends)
	ends, err = w.RunnerEnds(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, ends)
}
