package queue_test

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

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/queue/plane"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
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
	*queuetest.World
	rand     *rand.Rand
	plane    *plane.ControlPlane
	self     queue.Provisioner // of the plane
	older    queue.Provisioner
	grants   []queue.Reservation // of the plane
	oldGrant []queue.Reservation // of the older provisioner
	runners  []*actor
	retired  map[string]bool
	jobs     []string
	leases   map[string]string // the newest lease token of each job
	finals   map[string]queue.State
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
		World: queuetest.New(t), rand: rand.New(rand.NewPCG(uint64(seed), 1)),
		retired: map[string]bool{}, leases: map[string]string{}, finals: map[string]queue.State{},
	}
	h.older = h.Provisioner(queue.GenerationERT)
	h.open()
	t.Cleanup(func() { h.stopRun() })
	return h
}

// open makes what lives as long as one process of the hub.
func (h *history) open() {
	plane, err := plane.New(h.T.Context(), h.Queue, plane.Config{RunnerURL: "http://a"})
	require.NoError(h.T, err)
	h.plane, h.self = plane, queuetest.Self(h.T, plane)
	ctx, cancel := context.WithCancel(h.T.Context())
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
	job, err := h.Submit(h.T.Context(), queue.JobSpec{Labels: h.someLabels(), Run: "true", Retries: h.rand.IntN(2)})
	require.NoError(h.T, err)
	h.jobs = append(h.jobs, job.ID)
}

func (h *history) offer(p queue.Provisioner) []queue.Reservation {
	free := h.rand.IntN(4)
	answer, err := h.Poll(h.T.Context(), p, queue.PollRequest{
		Max: h.rand.IntN(5), TTL: time.Duration(1+h.rand.IntN(100)) * time.Second,
		Slots: []grant.Slots{{Key: "t", Labels: []string{"a", "b"}, Free: free}},
	})
	require.NoError(h.T, err)
	units := 0
	for _, r := range answer.Reservations {
		units += r.Count
	}
	require.LessOrEqual(h.T, units, free)
	if h.rand.IntN(5) == 0 { // the answer is lost
		require.NoError(h.T, h.GiveBack(h.T.Context(), p, answer.Reservations))
		return nil
	}
	return answer.Reservations
}

func (h *history) pollOne()   { h.grants = append(h.grants, h.offer(h.self)...) }
func (h *history) pollOlder() { h.oldGrant = append(h.oldGrant, h.offer(h.older)...) }

func (h *history) mintOne() {
	reservation, labels := "", h.someLabels()
	if grant, ok := pick(h, h.grants); ok && h.rand.IntN(4) > 0 {
		reservation, labels = grant.ID, []string{"a", "b"}
	}
	id := ledger.NewID()
	minted, err := h.plane.Mint(h.T.Context(), []provisioner.MintRequest{{Runner: id, Template: "t", Reservation: reservation, Labels: labels}})
	require.NoError(h.T, err)
	for _, m := range minted {
		h.runners = append(h.runners, &actor{id: id, credential: m.Env["SHIPFOX_RUNNER_BOOTSTRAP_TOKEN"], labels: labels})
	}
}

func (h *history) mintOlder() {
	grant, ok := pick(h, h.oldGrant)
	if !ok {
		return
	}
	id := ledger.NewID()
	minted, err := h.MintTokens(h.T.Context(), h.older, grant.ID, []string{id})
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
	state, _ := pick(h, []queue.RunnerState{queue.RunnerStarting, queue.RunnerRunning, queue.RunnerRunning, queue.RunnerRunning, queue.RunnerStopped, queue.RunnerFailed})
	p := h.self
	if isKind(r.credential, tokens.EphemeralRegistration) {
		p = h.older
	}
	_, _, err := h.Report(h.T.Context(), p, []queue.RunnerEvent{{ProviderID: r.id, Labels: r.labels, State: state, At: time.Now()}})
	require.NoError(h.T, err)
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
	switch ctx := h.T.Context(); {
	case r.lease != "":
	case r.session != "":
		h.claimBy(r)
	case !r.activation.IsZero() || isKind(r.credential, tokens.EphemeralRegistration):
		secret := r.credential
		if !r.activation.IsZero() {
			secret = r.activation.Reveal()
		}
		var s queue.Session
		s, err = h.Register(ctx, secret, r.labels)
		r.session, r.activation = s.Token, tokens.Token{}
	case r.control != "":
		r.activation, err = h.Assignment(ctx, r.control, time.Second)
	default:
		var c queue.ControlSession
		if c, err = h.Exchange(ctx, r.credential); err == nil {
			r.control = c.Token.Reveal()
			r.activation, err = h.Enrol(ctx, r.control, queue.Enrolment{Labels: r.labels, Kind: "test"})
		}
	}
	if err != nil { // a runner that is refused ends
		h.runners = slices.DeleteFunc(h.runners, func(other *actor) bool { return other == r })
	}
}

func (h *history) claimBy(r *actor) {
	claim, found, err := h.Claim(h.T.Context(), r.session, h.rand.IntN(3) > 0)
	if errors.Is(err, queue.ErrSessionExhausted) || errors.Is(err, queue.ErrUnauthorized) || !found {
		return
	}
	require.NoError(h.T, err)
	require.False(h.T, h.retired[r.id], "a retired runner got a job")
	if before := h.leases[claim.JobID]; before != "" {
		_, err := h.CheckLease(h.T.Context(), before)
		require.Error(h.T, err, "job %s has two leases", claim.JobID)
	}
	job, err := h.Job(h.T.Context(), claim.JobID)
	require.NoError(h.T, err)
	require.True(h.T, template.Covers(r.labels, job.Labels), "%v can't run %v", r.labels, job.Labels)
	h.leases[claim.JobID], r.lease, r.job = claim.LeaseToken, claim.LeaseToken, claim.JobID
}

func (h *history) finishOne() {
	r, ok := pick(h, h.runners)
	if !ok || r.lease == "" {
		return
	}
	outcome, _ := pick(h, []queue.Outcome{queue.OutcomeSucceeded, queue.OutcomeFailed, queue.OutcomeTimedOut, queue.OutcomeCancelled})
	err := h.Finish(h.T.Context(), r.lease, queue.Result{Outcome: outcome})
	if err != nil {
		require.True(h.T, errors.Is(err, queue.ErrLeaseEnded) || errors.Is(err, queue.ErrUnauthorized), "%v", err)
	}
}

func (h *history) cancelOne() {
	if id, ok := pick(h, h.jobs); ok {
		_, err := h.Cancel(h.T.Context(), id)
		require.NoError(h.T, err)
	}
}

func (h *history) renewAll() {
	for _, r := range h.runners {
		if r.lease != "" && h.rand.IntN(4) > 0 {
			_, _ = h.Renew(h.T.Context(), r.lease, r.job)
		}
	}
}

func (h *history) retireOne() {
	r, ok := pick(h, h.runners)
	if !ok {
		return
	}
	gone, err := h.plane.Retire(h.T.Context(), []provisioner.Ref{{ID: r.id}})
	require.NoError(h.T, err)
	for _, id := range gone {
		require.Empty(h.T, r.lease, "a runner with a job was retired")
		h.retired[id] = true
	}
}

func (h *history) pass() {
	time.Sleep(time.Duration(h.rand.IntN(40_000)) * time.Millisecond)
	synctest.Wait()
}

func (h *history) restart() {
	h.stopRun()
	require.NoError(h.T, h.Store().Close())
	h.World = queuetest.Open(h.T, h.Dir)
	h.open()
}

// check looks at what must hold at every moment.
func (h *history) check() {
	h.T.Helper()
	h.CheckCounts()
	h.CheckFinals()
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
		require.Empty(h.T, h.Strings(query), what)
	}
	jobs, _, err := h.Jobs(h.T.Context(), queue.JobFilter{Limit: 500})
	require.NoError(h.T, err)
	require.Len(h.T, jobs, len(h.jobs), "no accepted job is lost")
	for _, job := range jobs {
		if before, ended := h.finals[job.ID]; ended {
			require.Equal(h.T, before, job.State, "an ended job changed")
		}
		if job.State.Final() {
			h.finals[job.ID] = job.State
		}
	}
}

// drain waits for what is lost to be given up, and runs what is left.
func (h *history) drain() {
	h.runners = nil
	for range 4 {
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		session := h.Manual("a", "b")
		for {
			claim, found, err := h.Claim(h.T.Context(), session.Token, true)
			require.NoError(h.T, err)
			if !found {
				break
			}
			require.NoError(h.T, h.Finish(h.T.Context(), claim.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}))
		}
		h.check()
	}
	require.Len(h.T, h.finals, len(h.jobs), "every job must come to an end")
}

// revokeOne is a deed of random histories: the host of a runner is removed.
func (h *history) revokeOne() {
	r, ok := pick(h, h.runners)
	if !ok {
		return
	}
	h.Revoked(r.id)
	h.retired[r.id] = true
	if r.lease != "" {
		h.refusedAfterRevoke(r)
	}
}

// refusedAfterRevoke checks that the lease stores nothing more; one that ended by
// its result before may be said again.
func (h *history) refusedAfterRevoke(r *actor) {
	before, err := h.Job(h.T.Context(), r.job)
	require.NoError(h.T, err)
	_, err = h.CheckLease(h.T.Context(), r.lease)
	require.ErrorIs(h.T, err, queue.ErrLeaseEnded)
	_ = h.Finish(h.T.Context(), r.lease, queue.Result{Outcome: queue.OutcomeSucceeded})
	after, err := h.Job(h.T.Context(), r.job)
	require.NoError(h.T, err)
	require.Equal(h.T, before, after)
}
