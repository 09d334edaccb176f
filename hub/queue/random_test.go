package queue

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

var (
	seeds = flag.Int("seeds", 2, "how many random histories to try")
	seed  = flag.Int64("seed", 0, "the one random history to try")
)

// TestRandomHistories lets provisioners, runners and users do things in a random
// order, while time passes and the hub restarts, and checks what must always hold
// after each step. In the end every job must have come to an end.
func TestRandomHistories(t *testing.T) {
	first, n := time.Now().UnixNano()%1_000_000, *seeds
	if *seed != 0 {
		first, n = *seed, 1
	}
	for i := range int64(n) {
		t.Run(fmt.Sprint("seed=", first+i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newHistory(t, first+i).play(100) })
		})
	}
}

// history is one random history.
type history struct {
	*world
	rand     *rand.Rand
	plane    *ControlPlane
	older    Provisioner
	grants   []Reservation // of the plane
	oldGrant []Reservation // of the older provisioner
	runners  []*actor
	retired  map[string]bool
	jobs     []string
	leases   map[string]string // the newest lease token of each job
	finals   map[string]State
	stopRun  func()
}

// actor is one runner as it sees itself.
type actor struct {
	id, credential, control string
	activation              tokens.Token
	session, lease, job     string
	labels                  []string
}

func newHistory(t *testing.T, seed int64) *history {
	h := &history{
		world: newWorld(t), rand: rand.New(rand.NewPCG(uint64(seed), 1)),
		retired: map[string]bool{}, leases: map[string]string{}, finals: map[string]State{},
	}
	h.older = h.provisioner(GenerationERT)
	h.open()
	t.Cleanup(func() { h.stopRun() })
	return h
}

// open makes what lives as long as one process of the hub.
func (h *history) open() {
	plane, err := h.ControlPlane(h.t.Context(), ControlPlaneConfig{RunnerURL: "http://a"})
	require.NoError(h.t, err)
	h.plane = plane
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Run(ctx) }()
	h.stopRun = func() { cancel(); <-done }
}

func (h *history) play(steps int) {
	deeds := []struct {
		weight int
		do     func()
	}{
		{20, h.submitOne}, {14, h.pollOne}, {12, h.mintOne}, {5, h.pollOlder}, {5, h.mintOlder}, {12, h.reportOne},
		{20, h.stepRunner}, {14, h.finishOne}, {5, h.cancelOne}, {6, h.renewAll}, {5, h.retireOne}, {2, h.revokeOne}, {12, h.pass}, {1, h.restart},
	}
	total := 0
	for _, d := range deeds {
		total += d.weight
	}
	for range steps {
		pick := h.rand.IntN(total)
		for _, d := range deeds {
			if pick -= d.weight; pick < 0 {
				d.do()
				break
			}
		}
		h.check()
	}
	h.drain()
}

func pick[T any](h *history, from []T) (v T, ok bool) {
	if len(from) == 0 {
		return v, false
	}
	return from[h.rand.IntN(len(from))], true
}

func (h *history) someLabels() []string {
	labels, _ := pick(h, [][]string{{"a"}, {"b"}, {"a", "b"}})
	return labels
}

func (h *history) submitOne() {
	job, err := h.Submit(h.t.Context(), JobSpec{Labels: h.someLabels(), Run: "true", Retries: h.rand.IntN(2)})
	require.NoError(h.t, err)
	h.jobs = append(h.jobs, job.ID)
}

func (h *history) offer(p Provisioner) []Reservation {
	free := h.rand.IntN(4)
	answer, err := h.Poll(h.t.Context(), p, PollRequest{
		Max: h.rand.IntN(5), TTL: time.Duration(1+h.rand.IntN(100)) * time.Second,
		Slots: []grant.Slots{{Key: "t", Labels: []string{"a", "b"}, Free: free}},
	})
	require.NoError(h.t, err)
	units := 0
	for _, r := range answer.Reservations {
		units += r.Count
	}
	require.LessOrEqual(h.t, units, free)
	if h.rand.IntN(5) == 0 { // the answer is lost
		require.NoError(h.t, h.GiveBack(h.t.Context(), p, answer.Reservations))
		return nil
	}
	return answer.Reservations
}

func (h *history) pollOne()   { h.grants = append(h.grants, h.offer(h.plane.self)...) }
func (h *history) pollOlder() { h.oldGrant = append(h.oldGrant, h.offer(h.older)...) }

func (h *history) mintOne() {
	reservation, labels := "", h.someLabels()
	if grant, ok := pick(h, h.grants); ok && h.rand.IntN(4) > 0 {
		reservation, labels = grant.ID, []string{"a", "b"}
	}
	id := newID()
	minted, err := h.plane.Mint(h.t.Context(), []provisioner.MintRequest{{Runner: id, Template: "t", Reservation: reservation, Labels: labels}})
	require.NoError(h.t, err)
	for _, m := range minted {
		h.runners = append(h.runners, &actor{id: id, credential: m.Env["SHIPFOX_RUNNER_BOOTSTRAP_TOKEN"], labels: labels})
	}
}

func (h *history) mintOlder() {
	grant, ok := pick(h, h.oldGrant)
	if !ok {
		return
	}
	id := newID()
	minted, err := h.MintTokens(h.t.Context(), h.older, grant.ID, []string{id})
	if err != nil {
		return
	}
	h.runners = append(h.runners, &actor{id: id, credential: minted[0].Token.Reveal(), labels: []string{"a", "b"}})
}

func (h *history) reportOne() {
	r, ok := pick(h, h.runners)
	if !ok {
		return
	}
	state, _ := pick(h, []RunnerState{RunnerStarting, RunnerRunning, RunnerRunning, RunnerRunning, RunnerStopped, RunnerFailed})
	p := h.plane.self
	if isKind(r.credential, tokens.EphemeralRegistration) {
		p = h.older
	}
	_, _, err := h.Report(h.t.Context(), p, []RunnerEvent{{ProviderID: r.id, Labels: r.labels, State: state, At: time.Now()}})
	require.NoError(h.t, err)
}

func isKind(secret string, kind tokens.Kind) bool {
	token, err := tokens.Parse(secret)
	return err == nil && token.Kind() == kind
}

// stepRunner lets one runner take its next step.
func (h *history) stepRunner() {
	r, ok := pick(h, h.runners)
	if !ok {
		return
	}
	var err error
	switch ctx := h.t.Context(); {
	case r.lease != "":
	case r.session != "":
		h.claimBy(r)
	case !r.activation.IsZero() || isKind(r.credential, tokens.EphemeralRegistration):
		secret := r.credential
		if !r.activation.IsZero() {
			secret = r.activation.Reveal()
		}
		var s Session
		s, err = h.Register(ctx, secret, r.labels)
		r.session, r.activation = s.Token, tokens.Token{}
	case r.control != "":
		r.activation, err = h.Assignment(ctx, r.control, time.Second)
	default:
		var c ControlSession
		if c, err = h.Exchange(ctx, r.credential); err == nil {
			r.control = c.Token.Reveal()
			r.activation, err = h.Enrol(ctx, r.control, Enrolment{Labels: r.labels, Kind: "test"})
		}
	}
	if err != nil { // a runner that is refused ends
		h.runners = slices.DeleteFunc(h.runners, func(other *actor) bool { return other == r })
	}
}

func (h *history) claimBy(r *actor) {
	claim, found, err := h.Claim(h.t.Context(), r.session, h.rand.IntN(3) > 0)
	if errors.Is(err, ErrSessionExhausted) || errors.Is(err, ErrUnauthorized) || !found {
		return
	}
	require.NoError(h.t, err)
	require.False(h.t, h.retired[r.id], "a retired runner got a job")
	if before := h.leases[claim.JobID]; before != "" {
		_, err := h.CheckLease(h.t.Context(), before)
		require.Error(h.t, err, "job %s has two leases", claim.JobID)
	}
	job, err := h.Job(h.t.Context(), claim.JobID)
	require.NoError(h.t, err)
	require.True(h.t, template.Covers(r.labels, job.Labels), "%v can't run %v", r.labels, job.Labels)
	h.leases[claim.JobID], r.lease, r.job = claim.LeaseToken, claim.LeaseToken, claim.JobID
}

func (h *history) finishOne() {
	r, ok := pick(h, h.runners)
	if !ok || r.lease == "" {
		return
	}
	outcome, _ := pick(h, []Outcome{OutcomeSucceeded, OutcomeFailed, OutcomeTimedOut, OutcomeCancelled})
	err := h.Finish(h.t.Context(), r.lease, Result{Outcome: outcome})
	if err != nil {
		require.True(h.t, errors.Is(err, ErrLeaseEnded) || errors.Is(err, ErrUnauthorized), "%v", err)
	}
}

func (h *history) cancelOne() {
	if id, ok := pick(h, h.jobs); ok {
		_, err := h.Cancel(h.t.Context(), id)
		require.NoError(h.t, err)
	}
}

func (h *history) renewAll() {
	for _, r := range h.runners {
		if r.lease != "" && h.rand.IntN(4) > 0 {
			_, _ = h.Renew(h.t.Context(), r.lease, r.job)
		}
	}
}

func (h *history) retireOne() {
	r, ok := pick(h, h.runners)
	if !ok {
		return
	}
	gone, err := h.plane.Retire(h.t.Context(), []provisioner.Ref{{ID: r.id}})
	require.NoError(h.t, err)
	for _, id := range gone {
		require.Empty(h.t, r.lease, "a runner with a job was retired")
		h.retired[id] = true
	}
}

func (h *history) pass() {
	time.Sleep(time.Duration(h.rand.IntN(40_000)) * time.Millisecond)
	synctest.Wait()
}

func (h *history) restart() {
	h.stopRun()
	require.NoError(h.t, h.store.Close())
	h.world = openWorld(h.t, h.dir)
	h.open()
}

// check looks at what must hold at every moment.
func (h *history) check() {
	h.t.Helper()
	h.checkCounts()
	h.checkFinals()
	require.NoError(h.t, h.read(h.t.Context(), func(tx *tx) error {
		for what, query := range map[string]string{
			"a running job has its lease, and no other job has one": `SELECT j.id FROM jobs j WHERE (j.state = 'running') <>
				EXISTS (SELECT 1 FROM leases l WHERE l.job_id = j.id AND l.id = j.lease_id AND l.ended_at IS NULL)`,
			"a live lease is that of its job": `SELECT l.id FROM leases l JOIN jobs j ON j.id = l.job_id WHERE l.ended_at IS NULL AND j.lease_id <> l.id`,
			"a queued job is promised to nobody": `SELECT id FROM jobs WHERE state = 'queued' AND
				(reservation_id IS NOT NULL OR runner_id IS NOT NULL OR reserved_until IS NOT NULL OR lease_id IS NOT NULL)`,
			"a promised job says how long": `SELECT id FROM jobs WHERE state IN ('reserved', 'launched') AND (reservation_id IS NULL OR reserved_until IS NULL)`,
			"an ended job says since when": `SELECT id FROM jobs WHERE (finished_at IS NOT NULL) <>
				(state IN ('succeeded', 'failed', 'cancelled', 'timed-out', 'runner-lost'))`,
			"a reservation covers what was minted": `SELECT id FROM reservations WHERE minted > granted`,
			"a runner is meant for one job":        `SELECT runner_id FROM jobs WHERE state IN ('reserved', 'launched') AND runner_id IS NOT NULL GROUP BY runner_id HAVING count(*) > 1`,
			"no job waits for a runner that won't come": `SELECT j.id FROM jobs j JOIN runners r ON r.id = j.runner_id
				WHERE j.state IN ('reserved', 'launched') AND (r.ended_at IS NOT NULL OR r.retired_at IS NOT NULL)`,
			"no idle runner waits beside a job that it could run": `SELECT r.id FROM runners r JOIN jobs j ON j.state = 'queued'
				AND (j.label_set = r.label_set OR r.label_set = 'a,b') WHERE r.enrolled_at IS NOT NULL AND r.reservation_id IS NULL
				AND r.session_id IS NULL AND r.retired_at IS NULL AND r.ended_at IS NULL`,
		} {
			bad, err := store.All(tx.Tx, store.Value[string], query)
			require.NoError(h.t, err)
			require.Empty(h.t, bad, what)
		}
		jobs, err := store.All(tx.Tx, scanJob, `SELECT `+jobColumns+` FROM jobs`)
		require.Len(h.t, jobs, len(h.jobs), "no accepted job is lost")
		for _, job := range jobs {
			if before, ended := h.finals[job.ID]; ended {
				require.Equal(h.t, before, job.State, "an ended job changed")
			}
			if job.State.Final() {
				h.finals[job.ID] = job.State
			}
		}
		return err
	}))
}

// drain waits for what is lost to be given up, and runs what is left.
func (h *history) drain() {
	h.runners = nil
	for range 4 {
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		session := h.manual("a", "b")
		for {
			claim, found, err := h.Claim(h.t.Context(), session.Token, true)
			require.NoError(h.t, err)
			if !found {
				break
			}
			require.NoError(h.t, h.Finish(h.t.Context(), claim.LeaseToken, Result{Outcome: OutcomeSucceeded}))
		}
		h.check()
	}
	require.Len(h.t, h.finals, len(h.jobs), "every job must come to an end")
}
