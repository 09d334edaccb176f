// Package queuetest is a queue for tests, with the deeds that they repeat.
package queuetest

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/tokens"
)

// World is a queue with its store. Its deeds fail the test where the queue does not
// do them.
type World struct {
	*queue.Queue
	T testing.TB // the test that it lives for
	// Dir is the data folder.
	Dir string
}

// New opens a new queue; change may change its configuration.
func New(t testing.TB, change ...func(*queue.Config)) *World {
	t.Helper()
	return Open(t, storetest.Dir(t), change...)
}

// Open opens the queue of a data folder.
func Open(t testing.TB, dir string, change ...func(*queue.Config)) *World {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	cfg := queue.Config{Store: s}
	for _, c := range change {
		c(&cfg)
	}
	q, err := queue.New(t.Context(), cfg)
	require.NoError(t, err)
	return &World{Queue: q, T: t, Dir: dir}
}

// Start runs the queue's Run until the test ends.
func (w *World) Start() {
	ctx, cancel := context.WithCancel(w.T.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Run(ctx) })
	w.T.Cleanup(func() { cancel(); wg.Wait() })
}

// Add submits a job.
func (w *World) Add(labels ...string) queue.Job {
	w.T.Helper()
	job, err := w.Submit(w.T.Context(), queue.JobSpec{Labels: labels, Run: "true"})
	require.NoError(w.T, err)
	return job
}

// Provisioner makes a provisioner.
func (w *World) Provisioner(g queue.Generation) queue.Provisioner {
	w.T.Helper()
	_, secret, err := w.CreateToken(w.T.Context(), queue.TokenSpec{Kind: tokens.Provisioner, Generation: g})
	require.NoError(w.T, err)
	p, err := w.AuthenticateProvisioner(w.T.Context(), secret.Reveal())
	require.NoError(w.T, err)
	return p
}

// Look polls once with one template of the labels.
func (w *World) Look(p queue.Provisioner, free int, labels ...string) queue.PollAnswer {
	w.T.Helper()
	answer, err := w.Poll(w.T.Context(), p, queue.PollRequest{Max: 1000, Slots: []grant.Slots{{Key: "t", Labels: labels, Free: free}}})
	require.NoError(w.T, err)
	return answer
}

// StateOf is where a job is now.
func (w *World) StateOf(job queue.Job) queue.State { return w.now(job).State }

// ReasonOf is why it is there.
func (w *World) ReasonOf(job queue.Job) string { return w.now(job).Reason }

func (w *World) now(job queue.Job) queue.Job {
	w.T.Helper()
	now, err := w.Job(w.T.Context(), job.ID)
	require.NoError(w.T, err)
	return now
}

// History is all states that a job was in.
func (w *World) History(job queue.Job) (states []queue.State) {
	w.T.Helper()
	events, err := w.JobEvents(w.T.Context(), job.ID, 0)
	require.NoError(w.T, err)
	for _, e := range events {
		states = append(states, e.State)
	}
	return states
}

// Enrolled mints a runner, attaches it and enrols it.
func (w *World) Enrolled(p queue.Provisioner, reservation, providerID string, labels ...string) (id string, control string, activation tokens.Token) {
	w.T.Helper()
	ctx := w.T.Context()
	minted, err := w.Mint(ctx, p, []queue.InstanceRequest{{Template: "t", Reservation: reservation}})
	require.NoError(w.T, err)
	require.Len(w.T, minted, 1)
	attached, err := w.Attach(ctx, p, minted[0].ID, providerID)
	require.NoError(w.T, err)
	require.True(w.T, attached)
	session, err := w.Exchange(ctx, minted[0].Token.Reveal())
	require.NoError(w.T, err)
	activation, err = w.Enrol(ctx, session.Token.Reveal(), queue.Enrolment{Labels: labels, Kind: "test"})
	require.NoError(w.T, err)
	return minted[0].ID, session.Token.Reveal(), activation
}

// Claimed registers an activated runner, which claims its job.
func (w *World) Claimed(activation tokens.Token, ours bool, labels ...string) queue.Claim {
	w.T.Helper()
	session, err := w.Register(w.T.Context(), activation.Reveal(), labels)
	require.NoError(w.T, err)
	claim, found, err := w.Claim(w.T.Context(), session.Token, ours)
	require.NoError(w.T, err)
	require.True(w.T, found)
	return claim
}

// Manual registers a runner that claims many jobs.
func (w *World) Manual(labels ...string) queue.Session {
	w.T.Helper()
	_, secret, err := w.CreateToken(w.T.Context(), queue.TokenSpec{Kind: tokens.ManualRegistration})
	require.NoError(w.T, err)
	session, err := w.Register(w.T.Context(), secret.Reveal(), labels)
	require.NoError(w.T, err)
	return session
}

// Running submits a job, and has a runner of p run it: one that keeps the promises
// of a Slipway runner, if it is ours.
func (w *World) Running(p queue.Provisioner, providerID string, spec queue.JobSpec, ours bool) (queue.Job, queue.Claim) {
	w.T.Helper()
	spec.Labels, spec.Run = []string{"a"}, "true"
	job, err := w.Submit(w.T.Context(), spec)
	require.NoError(w.T, err)
	_, _, activation := w.Enrolled(p, w.Look(p, 1, "a").Reservations[0].ID, providerID, "a")
	claim := w.Claimed(activation, ours, "a")
	require.Equal(w.T, job.ID, claim.JobID)
	w.begin(claim, ours)
	return job, claim
}

// ClaimedJob submits a job and has a runner of nobody run it.
func (w *World) ClaimedJob(spec queue.JobSpec, ours bool) (queue.Job, queue.Claim) {
	w.T.Helper()
	spec.Labels, spec.Run = []string{"a"}, "true"
	job, err := w.Submit(w.T.Context(), spec)
	require.NoError(w.T, err)
	claim, found, err := w.Claim(w.T.Context(), w.Manual("a").Token, ours)
	require.NoError(w.T, err)
	require.True(w.T, found)
	require.Equal(w.T, job.ID, claim.JobID)
	w.begin(claim, ours)
	return job, claim
}

func (w *World) begin(claim queue.Claim, ours bool) {
	w.T.Helper()
	if ours {
		_, err := w.LeasedJob(w.T.Context(), claim.LeaseToken)
		require.NoError(w.T, err)
	}
}

// Revoked revokes runners, as the removal of their host does.
func (w *World) Revoked(runners ...string) queue.Revoked {
	w.T.Helper()
	revoked, err := w.Revoke(w.T.Context(), queue.ReasonHostRemoved, func(*store.Tx) ([]string, error) { return runners, nil })
	require.NoError(w.T, err)
	return revoked
}

// Strings is the only column of a query's rows.
func (w *World) Strings(query string, args ...any) (rows []string) {
	w.T.Helper()
	require.NoError(w.T, w.Store().Read(w.T.Context(), func(tx *store.Tx) (err error) {
		rows, err = store.All(tx, store.Value[string], query, args...)
		return err
	}))
	return rows
}

// Count is how many rows there are; from goes on after FROM.
func (w *World) Count(from string) (n int) {
	w.T.Helper()
	require.NoError(w.T, w.Store().Read(w.T.Context(), func(tx *store.Tx) (err error) {
		n, _, err = store.One(tx, store.Value[int], `SELECT count(*) FROM `+from)
		return err
	}))
	return n
}

// Exec changes the tables behind the queue's back.
func (w *World) Exec(query string, args ...any) {
	w.T.Helper()
	require.NoError(w.T, w.Store().Write(w.T.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	}))
}

// CheckCounts: the counts per label set are kept by triggers; they must be what
// counting says.
func (w *World) CheckCounts() {
	w.T.Helper()
	require.Empty(w.T, w.Strings(`SELECT label_set FROM label_sets s WHERE
		queued <> (SELECT count(*) FROM jobs j WHERE j.label_set = s.label_set AND j.state = 'queued') OR
		reserved <> (SELECT count(*) FROM jobs j WHERE j.label_set = s.label_set AND j.state IN ('reserved', 'launched')) OR
		running <> (SELECT count(*) FROM jobs j WHERE j.label_set = s.label_set AND j.state = 'running')`))
}

// CheckFinals: after a final state nothing happens to a job.
func (w *World) CheckFinals() {
	w.T.Helper()
	require.Empty(w.T, w.Strings(`SELECT a.job_id FROM job_events a JOIN job_events b ON b.job_id = a.job_id AND b.seq > a.seq
		WHERE a.state IN ('succeeded', 'failed', 'cancelled', 'timed-out', 'runner-lost')`))
}

// Self is the provisioner that a control plane over a queue of this process is.
func Self(t testing.TB, c provisioner.ControlPlane) queue.Provisioner {
	t.Helper()
	identity, err := c.Identify(t.Context())
	require.NoError(t, err)
	return queue.Provisioner{ID: identity.ID, Generation: queue.GenerationHead}
}

// Cancelled cancels a job.
func (w *World) Cancelled(job queue.Job) {
	w.T.Helper()
	_, err := w.Cancel(w.T.Context(), job.ID)
	require.NoError(w.T, err)
}

// Refused checks that nothing is accepted from who holds the lease.
func (w *World) Refused(claim queue.Claim) {
	w.T.Helper()
	ctx := w.T.Context()
	_, err := w.Renew(ctx, claim.LeaseToken, claim.JobID)
	require.ErrorIs(w.T, err, queue.ErrLeaseEnded)
	_, err = w.LeasedJob(ctx, claim.LeaseToken)
	require.ErrorIs(w.T, err, queue.ErrLeaseEnded)
	_, err = w.CheckLease(ctx, claim.LeaseToken)
	require.ErrorIs(w.T, err, queue.ErrLeaseEnded)
	require.ErrorIs(w.T, w.Finish(ctx, claim.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}), queue.ErrLeaseEnded)
	err = w.WithLease(ctx, claim.LeaseToken, func(*store.Tx, queue.Lease) error { w.T.Error("stored with a revoked lease"); return nil })
	require.ErrorIs(w.T, err, queue.ErrLeaseEnded)
}
