package jobs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
)

func TestWhatSubmitRefuses(t *testing.T) {
	w := queuetest.New(t)
	many := func(n int) map[string]string {
		env := map[string]string{}
		for i := range n {
			env[fmt.Sprint("V", i)] = "x"
		}
		return env
	}
	good := queue.JobSpec{Labels: []string{"a"}, Run: "true"}
	for field, changes := range map[string][]func(*queue.JobSpec){
		"labels": {
			func(s *queue.JobSpec) { s.Labels = nil },
			func(s *queue.JobSpec) { s.Labels = []string{"no spaces"} },
			func(s *queue.JobSpec) { s.Labels = []string{strings.Repeat("x", 129)} },
		},
		"run": {
			func(s *queue.JobSpec) { s.Run = "" },
			func(s *queue.JobSpec) { s.Command = []string{"true"} },
			func(s *queue.JobSpec) { s.Run = strings.Repeat("x", queue.MaxScriptBytes+1) },
			func(s *queue.JobSpec) { s.Run = "a\x00b" },
			func(s *queue.JobSpec) { s.Run = "\xff" },
		},
		"command": {
			func(s *queue.JobSpec) { s.Run, s.Command = "", []string{""} },
			func(s *queue.JobSpec) { s.Run, s.Command = "", make([]string, queue.MaxArguments+1) },
			func(s *queue.JobSpec) { s.Run, s.Command = "", []string{"a", "b\x00"} },
			func(s *queue.JobSpec) {
				s.Run, s.Command = "", []string{"a", strings.Repeat("x", queue.MaxScriptBytes)}
			},
		},
		"env": {
			func(s *queue.JobSpec) { s.Env = map[string]string{"1A": ""} },
			func(s *queue.JobSpec) { s.Env = map[string]string{"A=B": ""} },
			func(s *queue.JobSpec) { s.Env = map[string]string{"A": "\x00"} },
			func(s *queue.JobSpec) { s.Env = map[string]string{"A": strings.Repeat("x", queue.MaxEnvBytes)} },
			func(s *queue.JobSpec) { s.Env = many(queue.MaxEnv + 1) },
		},
		"timeout": {
			func(s *queue.JobSpec) { s.Timeout = -1 },
			func(s *queue.JobSpec) { s.Timeout = time.Millisecond },
			func(s *queue.JobSpec) { s.Timeout = queue.MaxTimeout + 1 },
		},
		"retries": {
			func(s *queue.JobSpec) { s.Retries = -1 },
			func(s *queue.JobSpec) { s.Retries = queue.MaxRetries + 1 },
		},
		"name": {
			func(s *queue.JobSpec) { s.Name = strings.Repeat("ü", queue.MaxNameLength+1) },
			func(s *queue.JobSpec) { s.Name = "two\nlines" },
		},
	} {
		for i, change := range changes {
			spec := good
			change(&spec)
			_, err := w.Submit(t.Context(), spec)
			require.ErrorIs(t, err, queue.ErrInvalid, "%s %d", field, i)
			var invalid *queue.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, field, invalid.Field)
		}
	}
	jobs, _, err := w.Jobs(t.Context(), queue.JobFilter{})
	require.NoError(t, err)
	require.Empty(t, jobs)
}

// Why: 500 jobs with long scripts are 131 MB, to print a line of each.
func TestAListLeavesOutWhatJobsRun(t *testing.T) {
	w := queuetest.New(t)
	script, err := w.Submit(t.Context(), queue.JobSpec{Labels: []string{"a"}, Run: "true", Env: map[string]string{"A": "1"}})
	require.NoError(t, err)
	require.Equal(t, "true", script.Run)
	command, err := w.Submit(t.Context(), queue.JobSpec{Labels: []string{"a"}, Command: []string{"true"}})
	require.NoError(t, err)
	listed, _, err := w.Jobs(t.Context(), queue.JobFilter{})
	require.NoError(t, err)
	whole := []queue.Job{command, script}
	for i := range whole {
		shown, err := w.Job(t.Context(), whole[i].ID)
		require.NoError(t, err)
		require.Equal(t, whole[i], shown)
		whole[i].Run, whole[i].Command, whole[i].EnvNames = "", nil, nil
	}
	require.Equal(t, whole, listed)
}

func TestJobsAreListedInPages(t *testing.T) {
	w := queuetest.New(t)
	var ids []string
	for i := range 7 {
		ids = append([]string{w.Add("a", fmt.Sprint("n", i%2)).ID}, ids...)
	}
	var got []string
	filter := queue.JobFilter{Limit: 3}
	for pages := 1; ; pages++ {
		jobs, next, err := w.Jobs(t.Context(), filter)
		require.NoError(t, err)
		for _, job := range jobs {
			got = append(got, job.ID)
		}
		if filter.Cursor = next; next == "" {
			require.Equal(t, 3, pages)
			break
		}
	}
	require.Equal(t, ids, got, "the newest first, each once")
	odd, _, err := w.Jobs(t.Context(), queue.JobFilter{Labels: []string{"n1"}})
	require.NoError(t, err)
	require.Len(t, odd, 3)
	_, err = w.Cancel(t.Context(), ids[0])
	require.NoError(t, err)
	cancelled, _, err := w.Jobs(t.Context(), queue.JobFilter{States: []queue.State{queue.StateCancelled, queue.StateFailed}})
	require.NoError(t, err)
	require.Len(t, cancelled, 1)
	_, _, err = w.Jobs(t.Context(), queue.JobFilter{Cursor: "!"})
	require.ErrorIs(t, err, queue.ErrInvalid)
}

func TestPruningTakesFinishedJobsOnly(t *testing.T) {
	w := queuetest.New(t)
	done, waits := w.Add("a"), w.Add("a")
	w.Cancelled(done)
	ids, err := w.PruneJobs(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.Equal(t, []string{done.ID}, ids)
	_, err = w.Job(t.Context(), done.ID)
	require.ErrorIs(t, err, queue.ErrNotFound)
	require.Empty(t, w.History(done))
	n, err := w.PruneEvents(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, []queue.State{queue.StateQueued}, w.History(waits))
	w.CheckCounts()
}

func TestAFullDiskAcceptsAndGrantsNothingNew(t *testing.T) {
	full := false
	w := queuetest.New(t, func(c *queue.Config) { c.StorageFull = func() bool { return full } })
	p := w.Provisioner(queue.GenerationHead)
	running, claim := w.ClaimedJob(queue.JobSpec{}, true)
	waits := w.Add("a")
	manual := w.Manual("a")
	full = true
	_, err := w.Submit(t.Context(), queue.JobSpec{Labels: []string{"a"}, Run: "true"})
	require.ErrorIs(t, err, queue.ErrStorageFull)
	require.Empty(t, w.Look(p, 5, "a").Reservations)
	_, found, err := w.Claim(t.Context(), manual.Token, true)
	require.NoError(t, err)
	require.False(t, found)
	_, _, activation := w.Enrolled(p, "", "warm", "a")
	require.True(t, activation.IsZero())

	_, err = w.Renew(t.Context(), claim.LeaseToken, running.ID)
	require.NoError(t, err)
	require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}))
	w.Cancelled(waits)
	require.Equal(t, queue.StateSucceeded, w.StateOf(running), "results, leases and cancels are still stored")
	require.Equal(t, queue.StateCancelled, w.StateOf(waits))
}

func TestWhatWasHeldBackIsGrantedWhenThereIsRoomAgain(t *testing.T) {
	full := false
	w := queuetest.New(t, func(c *queue.Config) { c.StorageFull = func() bool { return full } })
	job := w.Add("a")
	full = true
	_, control, _ := w.Enrolled(w.Provisioner(queue.GenerationHead), "", "warm", "a")
	full = false
	require.NoError(t, w.Resume(t.Context()))
	token, err := w.Assignment(t.Context(), control, time.Second)
	require.NoError(t, err)
	require.False(t, token.IsZero())
	require.Equal(t, queue.StateLaunched, w.StateOf(job))
}
