package queue

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) {
	if dir := childFolder(); dir != "" {
		childMain(dir)
	}
	dir, err := os.MkdirTemp("", "queue-test-*")
	if err != nil {
		panic(err)
	}
	s, err := store.Open(context.Background(), store.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	if err := s.Close(); err != nil {
		panic(err)
	}
	migrated = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// migrated is a new data folder, made once and copied for each test.
var migrated string

// world is a queue with its store, and the deeds that tests repeat.
type world struct {
	*Queue
	t   *testing.T
	dir string
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(migrated)))
	return openWorld(t, dir, change...)
}

func openWorld(t *testing.T, dir string, change ...func(*Config)) *world {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	cfg := Config{Store: s}
	for _, c := range change {
		c(&cfg)
	}
	q, err := New(t.Context(), cfg)
	require.NoError(t, err)
	return &world{Queue: q, t: t, dir: dir}
}

// run runs the queue's Run until the test ends.
func (w *world) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Run(ctx) })
	w.t.Cleanup(func() { cancel(); wg.Wait() })
}

func (w *world) submit(labels ...string) Job {
	w.t.Helper()
	job, err := w.Submit(w.t.Context(), JobSpec{Labels: labels, Run: "true"})
	require.NoError(w.t, err)
	return job
}

func (w *world) provisioner(g Generation) Provisioner {
	w.t.Helper()
	_, secret, err := w.CreateToken(w.t.Context(), TokenSpec{Kind: tokens.Provisioner, Generation: g})
	require.NoError(w.t, err)
	p, err := w.AuthenticateProvisioner(w.t.Context(), secret.Reveal())
	require.NoError(w.t, err)
	return p
}

// poll looks once with one template of the labels.
func (w *world) poll(p Provisioner, free int, labels ...string) PollAnswer {
	w.t.Helper()
	answer, err := w.Poll(w.t.Context(), p, PollRequest{Max: 1000, Slots: []grant.Slots{{Key: "t", Labels: labels, Free: free}}})
	require.NoError(w.t, err)
	return answer
}

func (w *world) state(job Job) State {
	w.t.Helper()
	now, err := w.Job(w.t.Context(), job.ID)
	require.NoError(w.t, err)
	return now.State
}

func (w *world) history(job Job) (states []State) {
	w.t.Helper()
	events, err := w.JobEvents(w.t.Context(), job.ID, 0)
	require.NoError(w.t, err)
	for _, e := range events {
		states = append(states, e.State)
	}
	return states
}

// enrolled mints a runner, attaches it and enrols it.
func (w *world) enrolled(p Provisioner, reservation, providerID string, labels ...string) (id string, control string, activation tokens.Token) {
	w.t.Helper()
	ctx := w.t.Context()
	minted, err := w.Mint(ctx, p, []InstanceRequest{{Template: "t", Reservation: reservation}})
	require.NoError(w.t, err)
	require.Len(w.t, minted, 1)
	attached, err := w.Attach(ctx, p, minted[0].ID, providerID)
	require.NoError(w.t, err)
	require.True(w.t, attached)
	session, err := w.Exchange(ctx, minted[0].Token.Reveal())
	require.NoError(w.t, err)
	activation, err = w.Enrol(ctx, session.Token.Reveal(), Enrolment{Labels: labels, Kind: "test"})
	require.NoError(w.t, err)
	return minted[0].ID, session.Token.Reveal(), activation
}

func (w *world) claimed(activation tokens.Token, ours bool, labels ...string) Claim {
	w.t.Helper()
	session, err := w.Register(w.t.Context(), activation.Reveal(), labels)
	require.NoError(w.t, err)
	claim, found, err := w.Claim(w.t.Context(), session.Token, ours)
	require.NoError(w.t, err)
	require.True(w.t, found)
	return claim
}

// manual registers a runner that claims many jobs.
func (w *world) manual(labels ...string) Session {
	w.t.Helper()
	_, secret, err := w.CreateToken(w.t.Context(), TokenSpec{Kind: tokens.ManualRegistration})
	require.NoError(w.t, err)
	session, err := w.Register(w.t.Context(), secret.Reveal(), labels)
	require.NoError(w.t, err)
	return session
}

func TestAJobGoesItsWay(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	p := w.provisioner(GenerationHead)
	job, err := w.Submit(ctx, JobSpec{Labels: []string{"Linux", "docker"}, Run: "make test\n", Env: map[string]string{"KEY": "value"}})
	require.NoError(t, err)
	require.Equal(t, []string{"docker", "linux"}, job.Labels)
	require.Equal(t, "make test", job.Name)
	require.Equal(t, time.Hour, job.Timeout)

	answer := w.poll(p, 3, "docker", "gpu", "linux")
	require.Len(t, answer.Reservations, 1)
	require.Equal(t, 1, answer.Reservations[0].Count)
	require.Equal(t, 1, answer.NewlyReserved)
	require.Equal(t, []Stat{{Labels: job.Labels, Queued: 1, Reserved: 1, Oldest: job.queuedAt}}, answer.Stats)
	require.Empty(t, w.poll(p, 3, "docker", "gpu", "linux").Reservations, "what is promised is not promised again")

	_, _, activation := w.enrolled(p, answer.Reservations[0].ID, "box-1", "docker", "gpu", "linux")
	require.False(t, activation.IsZero(), "the runner was minted for a job: enrolment gives it out at once")
	claim := w.claimed(activation, true, "docker", "gpu", "linux")
	require.Equal(t, job.ID, claim.JobID)

	leased, err := w.LeasedJob(ctx, claim.LeaseToken)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"KEY": "value"}, leased.Env)
	require.Equal(t, "make test\n", leased.Job.Run)
	renewal, err := w.Renew(ctx, claim.LeaseToken, job.ID)
	require.NoError(t, err)
	require.False(t, renewal.Cancel)

	code := 0
	result := Result{Outcome: OutcomeSucceeded, ExitCode: &code, LogBytes: 12}
	require.NoError(t, w.Finish(ctx, renewal.LeaseToken, result))
	require.NoError(t, w.Finish(ctx, claim.LeaseToken, Result{Outcome: OutcomeFailed}), "the same lease may send it again")
	done, err := w.Job(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, StateSucceeded, done.State, "the first result counts")
	require.Equal(t, &code, done.ExitCode)
	require.Equal(t, int64(12), done.LogBytes)
	require.Equal(t, []State{StateQueued, StateReserved, StateLaunched, StateRunning, StateSucceeded}, w.history(job))

	_, err = w.Renew(ctx, claim.LeaseToken, job.ID)
	require.ErrorIs(t, err, ErrLeaseEnded)
	_, err = w.CheckLease(ctx, claim.LeaseToken)
	require.ErrorIs(t, err, ErrLeaseEnded)
}

func TestAPromiseThatExpiresPutsTheJobBack(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ReservationTTL = 20 * time.Millisecond })
	w.run()
	p := w.provisioner(GenerationERT)
	job := w.submit("a")
	answer := w.poll(p, 1, "a")
	require.Len(t, answer.Reservations, 1)
	require.Equal(t, StateReserved, w.state(job))
	require.Eventually(t, func() bool { return w.state(job) == StateQueued }, 5*time.Second, 5*time.Millisecond)
	_, err := w.MintTokens(t.Context(), p, answer.Reservations[0].ID, []string{"x"})
	require.ErrorIs(t, err, ErrReservationExpired)
}

func TestOneTokenOneWinner(t *testing.T) {
	for _, kind := range []string{"bootstrap", "ephemeral", "activation"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			use := useOnce(w, kind)
			var wg sync.WaitGroup
			errs := make([]error, 100)
			for i := range errs {
				wg.Go(func() { errs[i] = use() })
			}
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				}
			}
			require.Equal(t, 1, won, "a token of one use must have exactly one winner")
		})
	}
}

// useOnce returns the use of one fresh token.
func useOnce(w *world, kind string) func() error {
	ctx := w.t.Context()
	switch kind {
	case "bootstrap":
		minted, err := w.Mint(ctx, w.provisioner(GenerationHead), []InstanceRequest{{}})
		require.NoError(w.t, err)
		return func() error { _, err := w.Exchange(ctx, minted[0].Token.Reveal()); return err }
	case "ephemeral":
		p := w.provisioner(GenerationERT)
		w.submit("a")
		minted, err := w.MintTokens(ctx, p, w.poll(p, 1, "a").Reservations[0].ID, []string{"x"})
		require.NoError(w.t, err)
		return func() error { _, err := w.Register(ctx, minted[0].Token.Reveal(), []string{"a"}); return err }
	default:
		p := w.provisioner(GenerationHead)
		w.submit("a")
		_, _, activation := w.enrolled(p, w.poll(p, 1, "a").Reservations[0].ID, "x", "a")
		return func() error { _, err := w.Register(ctx, activation.Reveal(), []string{"a"}); return err }
	}
}
