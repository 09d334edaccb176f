package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// crashFolder names the data folder to a child that is to be killed.
const crashFolder = "SLIPWAY_TEST_CRASH_FOLDER"

func childFolder() string { return os.Getenv(crashFolder) }

// childMain submits, claims and finishes jobs until it is killed, and says on
// stdout what it was promised, a line each, after the promise.
func childMain(dir string) {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Dir: dir})
	exitOn(err)
	q, err := New(ctx, Config{Store: s, LeaseTTL: 60 * time.Millisecond, LeaseGrace: 20 * time.Millisecond, RenewInterval: 20 * time.Millisecond})
	exitOn(err)
	go func() { exitOn(q.Run(ctx)) }()
	_, secret, err := q.CreateToken(ctx, TokenSpec{Kind: tokens.ManualRegistration})
	exitOn(err)
	for range 4 {
		go func() {
			for {
				job, err := q.Submit(ctx, JobSpec{Labels: []string{"a"}, Run: "true", Retries: MaxRetries})
				exitOn(err)
				say("submitted", job.ID, 0)
			}
		}()
		go work(ctx, q, secret)
	}
	select {}
}

// work is a runner that claims and finishes; one job in ten it forgets.
func work(ctx context.Context, q *Queue, secret tokens.Token) {
	session, err := q.Register(ctx, secret.Reveal(), []string{"a"})
	exitOn(err)
	for {
		claim, found, err := q.Claim(ctx, session.Token, true)
		exitOn(err)
		if !found {
			continue
		}
		say("claimed", claim.JobID, claim.Attempt)
		if rand.IntN(10) == 0 {
			continue
		}
		err = q.Finish(ctx, claim.LeaseToken, Result{Outcome: OutcomeSucceeded})
		if errors.Is(err, ErrLeaseEnded) {
			continue
		}
		exitOn(err)
		say("finished", claim.JobID, claim.Attempt)
	}
}

var stdout sync.Mutex

func say(what, id string, attempt int) {
	stdout.Lock()
	defer stdout.Unlock()
	_, err := fmt.Println(what, id, attempt)
	exitOn(err)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

// TestKilledAtAnyMoment kills a hub again and again, and holds what it promised
// against what is there.
func TestKilledAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	submitted, finished := map[string]bool{}, map[string]int{} // finished: by which attempt
	for round := range 8 {
		for _, line := range runAndKill(t, dir, 20+rand.IntN(100)) {
			var (
				what, id string
				attempt  int
			)
			_, err := fmt.Sscan(line, &what, &id, &attempt)
			require.NoError(t, err, line)
			switch what {
			case "submitted":
				submitted[id] = true
			case "claimed":
				if finished[id] > 0 {
					require.Less(t, attempt, finished[id], "round %d: job %s finished and was given out again", round, id)
				}
			case "finished":
				require.Zero(t, finished[id], "round %d: job %s finished twice", round, id)
				finished[id] = attempt
			}
		}
	}
	require.NotEmpty(t, finished)
	w := openWorld(t, dir)
	for id := range submitted {
		job, err := w.Job(t.Context(), id)
		require.NoError(t, err, "job %s was accepted and is lost", id)
		if finished[id] > 0 {
			require.Equal(t, StateSucceeded, job.State, "job %s had finished", id)
		}
	}
	w.checkCounts()
	w.checkFinals()
	t.Logf("%d jobs accepted, %d finished", len(submitted), len(finished))
}

// checkFinals: after a final state nothing happens to a job.
func (w *world) checkFinals() {
	w.t.Helper()
	require.NoError(w.t, w.read(w.t.Context(), func(tx *tx) error {
		revived, err := store.All(tx.Tx, store.Value[string], `SELECT a.job_id FROM job_events a JOIN job_events b ON b.job_id = a.job_id AND b.seq > a.seq
			WHERE a.state IN ('succeeded', 'failed', 'cancelled', 'timed-out', 'runner-lost')`)
		require.Empty(w.t, revived)
		return err
	}))
}

// runAndKill starts a child, kills it when it has said so many lines, the moment
// it said the last, and returns all its whole lines.
func runAndKill(t *testing.T, dir string, kill int) (lines []string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), crashFolder+"="+dir)
	var stderr strings.Builder
	child.Stderr = &stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	defer func() { _ = child.Process.Kill() }()
	reader := bufio.NewReader(out)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			break // what is cut was not promised
		}
		if lines = append(lines, strings.TrimSuffix(line, "\n")); len(lines) == kill {
			require.NoError(t, child.Process.Kill())
		}
	}
	_ = child.Wait()
	require.Empty(t, stderr.String())
	require.GreaterOrEqual(t, len(lines), kill)
	return lines
}
