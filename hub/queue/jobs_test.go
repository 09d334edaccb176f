package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatSubmitRefuses(t *testing.T) {
	w := newWorld(t)
	many := func(n int) map[string]string {
		env := map[string]string{}
		for i := range n {
			env[fmt.Sprint("V", i)] = "x"
		}
		return env
	}
	good := JobSpec{Labels: []string{"a"}, Run: "true"}
	for field, changes := range map[string][]func(*JobSpec){
		"labels": {
			func(s *JobSpec) { s.Labels = nil },
			func(s *JobSpec) { s.Labels = []string{"no spaces"} },
			func(s *JobSpec) { s.Labels = []string{strings.Repeat("x", 129)} },
		},
		"run": {
			func(s *JobSpec) { s.Run = "" },
			func(s *JobSpec) { s.Command = []string{"true"} },
			func(s *JobSpec) { s.Run = strings.Repeat("x", MaxScriptBytes+1) },
			func(s *JobSpec) { s.Run = "a\x00b" },
			func(s *JobSpec) { s.Run = "\xff" },
		},
		"command": {
			func(s *JobSpec) { s.Run, s.Command = "", []string{""} },
			func(s *JobSpec) { s.Run, s.Command = "", make([]string, MaxArguments+1) },
			func(s *JobSpec) { s.Run, s.Command = "", []string{"a", "b\x00"} },
			func(s *JobSpec) { s.Run, s.Command = "", []string{"a", strings.Repeat("x", MaxScriptBytes)} },
		},
		"env": {
			func(s *JobSpec) { s.Env = map[string]string{"1A": ""} },
			func(s *JobSpec) { s.Env = map[string]string{"A=B": ""} },
			func(s *JobSpec) { s.Env = map[string]string{"A": "\x00"} },
			func(s *JobSpec) { s.Env = map[string]string{"A": strings.Repeat("x", MaxEnvBytes)} },
			func(s *JobSpec) { s.Env = many(MaxEnv + 1) },
		},
		"timeout": {
			func(s *JobSpec) { s.Timeout = -1 },
			func(s *JobSpec) { s.Timeout = time.Millisecond },
			func(s *JobSpec) { s.Timeout = MaxTimeout + 1 },
		},
		"retries": {
			func(s *JobSpec) { s.Retries = -1 },
			func(s *JobSpec) { s.Retries = MaxRetries + 1 },
		},
		"name": {
			func(s *JobSpec) { s.Name = strings.Repeat("ü", MaxNameLength+1) },
			func(s *JobSpec) { s.Name = "two\nlines" },
		},
	} {
		for i, change := range changes {
			spec := good
			change(&spec)
			_, err := w.Submit(t.Context(), spec)
			require.ErrorIs(t, err, ErrInvalid, "%s %d", field, i)
			var invalid *InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, field, invalid.Field)
		}
	}
	jobs, _, err := w.Jobs(t.Context(), JobFilter{})
	require.NoError(t, err)
	require.Empty(t, jobs)
}

func TestJobsAreListedInPages(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for i := range 7 {
		ids = append([]string{w.submit("a", fmt.Sprint("n", i%2)).ID}, ids...)
	}
	var got []string
	filter := JobFilter{Limit: 3}
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
	odd, _, err := w.Jobs(t.Context(), JobFilter{Labels: []string{"n1"}})
	require.NoError(t, err)
	require.Len(t, odd, 3)
	_, err = w.Cancel(t.Context(), ids[0])
	require.NoError(t, err)
	cancelled, _, err := w.Jobs(t.Context(), JobFilter{States: []State{StateCancelled, StateFailed}})
	require.NoError(t, err)
	require.Len(t, cancelled, 1)
	_, _, err = w.Jobs(t.Context(), JobFilter{Cursor: "!"})
	require.ErrorIs(t, err, ErrInvalid)
}

func TestPruningTakesFinishedJobsOnly(t *testing.T) {
	w := newWorld(t)
	done, waits := w.submit("a"), w.submit("a")
	w.cancelled(done)
	ids, err := w.PruneJobs(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.Equal(t, []string{done.ID}, ids)
	_, err = w.Job(t.Context(), done.ID)
	require.ErrorIs(t, err, ErrNotFound)
	require.Empty(t, w.history(done))
	n, err := w.PruneEvents(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, []State{StateQueued}, w.history(waits))
	w.checkCounts()
}

func TestAFullDiskAcceptsAndGrantsNothingNew(t *testing.T) {
	full := false
	w := newWorld(t, func(c *Config) { c.StorageFull = func() bool { return full } })
	p := w.provisioner(GenerationHead)
	running, claim := w.claimedJob(JobSpec{}, true)
	waits := w.submit("a")
	manual := w.manual("a")
	full = true
	_, err := w.Submit(t.Context(), JobSpec{Labels: []string{"a"}, Run: "true"})
	require.ErrorIs(t, err, ErrStorageFull)
	require.Empty(t, w.poll(p, 5, "a").Reservations)
	_, found, err := w.Claim(t.Context(), manual.Token, true)
	require.NoError(t, err)
	require.False(t, found)
	_, _, activation := w.enrolled(p, "", "warm", "a")
	require.True(t, activation.IsZero())

	_, err = w.Renew(t.Context(), claim.LeaseToken, running.ID)
	require.NoError(t, err)
	require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, Result{Outcome: OutcomeSucceeded}))
	w.cancelled(waits)
	require.Equal(t, StateSucceeded, w.state(running), "results, leases and cancels are still stored")
	require.Equal(t, StateCancelled, w.state(waits))
}

func TestWhatWasHeldBackIsGrantedWhenThereIsRoomAgain(t *testing.T) {
	full := false
	w := newWorld(t, func(c *Config) { c.StorageFull = func() bool { return full } })
	job := w.submit("a")
	full = true
	_, control, _ := w.enrolled(w.provisioner(GenerationHead), "", "warm", "a")
	full = false
	require.NoError(t, w.Resume(t.Context()))
	token, err := w.Assignment(t.Context(), control, time.Second)
	require.NoError(t, err)
	require.False(t, token.IsZero())
	require.Equal(t, StateLaunched, w.state(job))
}
