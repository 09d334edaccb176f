package plane_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/plane"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/controlplanetest"
	"github.com/slipway-ci/slipway/tokens"
)

func TestControlPlaneKeepsItsPromises(t *testing.T) {
	controlplanetest.Run(t, func(t *testing.T) controlplanetest.Harness {
		w := queuetest.New(t, func(c *queue.Config) { c.ReservationTTL = time.Minute })
		w.Start()
		return &harness{w}
	})
}

// harness is a queue for the conformance suite.
type harness struct{ *queuetest.World }

var (
	_ controlplanetest.Harness   = (*harness)(nil)
	_ controlplanetest.Starter   = (*harness)(nil)
	_ controlplanetest.Canceller = (*harness)(nil)
	_ controlplanetest.Recorder  = (*harness)(nil)
	_ controlplanetest.Ager      = (*harness)(nil)
)

func (h *harness) Traits() controlplanetest.Traits {
	return controlplanetest.Traits{LostGrant: time.Minute}
}

func (h *harness) Open(t *testing.T) provisioner.ControlPlane {
	plane, err := plane.New(t.Context(), h.Queue, plane.Config{RunnerURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	return plane
}

func (h *harness) Enqueue(t *testing.T, labels []string, n int) {
	for range n {
		_, err := h.Submit(t.Context(), queue.JobSpec{Labels: labels, Run: "true"})
		require.NoError(t, err)
	}
}

func (h *harness) Cancel(t *testing.T, runner string) {
	plane, err := plane.New(t.Context(), h.Queue, plane.Config{RunnerURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	facts, err := plane.Facts(t.Context(), []provisioner.Ref{{ID: runner}})
	require.NoError(t, err)
	require.NotEmpty(t, facts[0].Job)
	_, err = h.Queue.Cancel(t.Context(), facts[0].Job)
	require.NoError(t, err)
}

func (h *harness) Age(_ *testing.T, d time.Duration) {
	h.Exec(`UPDATE reservations SET expires_at = expires_at - ?`, d.Milliseconds())
	h.Exec(`UPDATE jobs SET reserved_until = reserved_until - ?`, d.Milliseconds())
}

func (h *harness) State(_ *testing.T, id string) provisioner.EventState {
	return provisioner.EventState(h.Strings(`SELECT state FROM runners WHERE provider_runner_id = ?`, id)[0])
}

func (h *harness) Start(t *testing.T, registration provisioner.Registration) controlplanetest.Runner {
	r := &startedRunner{h: h, labels: strings.Split(registration.Env["SHIPFOX_RUNNER_LABELS"], ",")}
	session, err := h.Exchange(t.Context(), registration.Env["SHIPFOX_RUNNER_BOOTSTRAP_TOKEN"])
	require.NoError(t, err)
	r.control = session.Token.Reveal()
	r.activation, err = h.Enrol(t.Context(), r.control, queue.Enrolment{Labels: r.labels, Kind: "test"})
	require.NoError(t, err)
	return r
}

// startedRunner is an enrolled runner.
type startedRunner struct {
	h          *harness
	labels     []string
	control    string
	activation tokens.Token
}

func (r *startedRunner) Take(t *testing.T) bool {
	var err error
	if r.activation.IsZero() {
		r.activation, err = r.h.Assignment(t.Context(), r.control, 100*time.Millisecond)
		require.NoError(t, err)
	}
	if r.activation.IsZero() {
		return false
	}
	session, err := r.h.Register(t.Context(), r.activation.Reveal(), r.labels)
	require.NoError(t, err)
	_, found, err := r.h.Claim(t.Context(), session.Token, true)
	if errors.Is(err, queue.ErrSessionExhausted) {
		return false
	}
	require.NoError(t, err)
	return found
}

func TestTheProvisionerOfThisProcessStaysTheSame(t *testing.T) {
	w := queuetest.New(t)
	first, err := plane.New(t.Context(), w.Queue, plane.Config{RunnerURL: "http://a"})
	require.NoError(t, err)
	again, err := plane.New(t.Context(), w.Queue, plane.Config{RunnerURL: "http://b"})
	require.NoError(t, err)
	other, err := plane.New(t.Context(), w.Queue, plane.Config{RunnerURL: "http://b", Name: "second"})
	require.NoError(t, err)
	require.Equal(t, queuetest.Self(t, first), queuetest.Self(t, again), "its id owns what it launched before a restart")
	require.NotEqual(t, queuetest.Self(t, first), queuetest.Self(t, other))
	_, err = plane.New(t.Context(), w.Queue, plane.Config{})
	require.ErrorContains(t, err, "RunnerURL")
}

// A runner that would be launched for nothing is not: it was minted by another, nobody
// wants it, or it has ended already.
func TestAnnounceRefusesWhatIsNotToBeLaunched(t *testing.T) {
	w := queuetest.New(t)
	c, err := plane.New(t.Context(), w.Queue, plane.Config{RunnerURL: "http://a"})
	require.NoError(t, err)
	var requests []provisioner.MintRequest
	for _, id := range []string{"good", "retired", "unwanted", "ended"} {
		requests = append(requests, provisioner.MintRequest{Runner: id, Template: "t", Labels: []string{"a"}})
	}
	_, err = c.Mint(t.Context(), requests)
	require.NoError(t, err)
	_, err = c.Retire(t.Context(), []provisioner.Ref{{ID: "retired"}})
	require.NoError(t, err)
	require.NoError(t, w.Unwant(t.Context(), []string{"unwanted"}, "drain"))
	require.NoError(t, c.Report(t.Context(), []provisioner.Event{{Runner: "ended", State: provisioner.EventFailed, At: time.Now()}}))
	require.NoError(t, c.Announce(t.Context(), provisioner.Ref{ID: "good"}))
	for _, id := range []string{"retired", "unwanted", "ended", "unknown"} {
		require.ErrorIs(t, c.Announce(t.Context(), provisioner.Ref{ID: id}), provisioner.ErrRefused, id)
	}
}

// A warm runner that is retired must never get a job, however the two race.
func TestRetireRacesAdoption(t *testing.T) {
	w := queuetest.New(t)
	plane, err := plane.New(t.Context(), w.Queue, plane.Config{RunnerURL: "http://a"})
	require.NoError(t, err)
	h := &harness{w}
	for i := range 10 {
		id, label := fmt.Sprint("r", i), fmt.Sprint("l", i)
		minted, err := plane.Mint(t.Context(), []provisioner.MintRequest{{Runner: id, Template: "t", Labels: []string{label}}})
		require.NoError(t, err)
		runner := h.Start(t, minted[0])
		var (
			wg      sync.WaitGroup
			retired []string
			job     queue.Job
		)
		wg.Go(func() { job, err = w.Submit(t.Context(), queue.JobSpec{Labels: []string{label}, Run: "true"}) })
		wg.Go(func() { retired, _ = plane.Retire(t.Context(), []provisioner.Ref{{ID: id}}) })
		wg.Wait()
		require.NoError(t, err)
		took := runner.Take(t)
		require.NotEqual(t, len(retired) == 1, took, "either it is retired or it gets the job, never both, never neither")
		require.Equal(t, map[bool]queue.State{true: queue.StateRunning, false: queue.StateQueued}[took], w.StateOf(job))
	}
}

// What is asked about a fleet of thousands comes in several queries: each runner is
// told once, with its own facts, and one that was never heard of is left out.
func TestFactsOfThousands(t *testing.T) {
	w := queuetest.New(t)
	c, err := plane.New(t.Context(), w.Queue, plane.Config{RunnerURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	other, err := plane.New(t.Context(), w.Queue, plane.Config{Name: "other", RunnerURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	var refs []provisioner.Ref
	var events []provisioner.Event
	for i := range 1010 { // a query is about 1000
		id := fmt.Sprintf("runner-%04d", i)
		refs = append(refs, provisioner.Ref{ID: id})
		if i%10 == 1 {
			events = append(events, provisioner.Event{Runner: id, State: provisioner.EventRunning, At: time.Now()})
		}
	}
	require.NoError(t, c.Report(t.Context(), events))
	require.NoError(t, other.Report(t.Context(), []provisioner.Event{{Runner: "runner-0000", State: provisioner.EventRunning, At: time.Now()}}))
	w.Exec(`UPDATE runners SET enrolled_at = 1 WHERE provider_runner_id = 'runner-0001'`)
	w.Exec(`UPDATE runners SET intent = 'job-cancelled' WHERE provider_runner_id = 'runner-1001'`)
	facts, err := c.Facts(t.Context(), refs)
	require.NoError(t, err)
	told := map[string]provisioner.Fact{}
	for _, f := range facts {
		told[f.Runner] = f
	}
	require.Equal(t, len(events), len(facts))
	require.Equal(t, len(events), len(told), "a runner is told twice")
	for _, e := range events {
		want := provisioner.Fact{Runner: e.Runner, Registered: provisioner.No, Busy: provisioner.No}
		switch e.Runner {
		case "runner-0001":
			want.Registered = provisioner.Yes
		case "runner-1001":
			want.Unwanted, want.Reason = true, "job-cancelled"
		}
		require.Equal(t, want, told[e.Runner])
	}
	facts, err = c.Facts(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, facts)
}

// A host that comes back after a long cut brings runners whose leases were lost
// meanwhile: they are not wanted any more. One that was told as ended, and whose lease
// lives, goes on.
func TestARunnerWithoutItsLeaseIsUnwanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		c, err := plane.New(t.Context(), w.Queue, plane.Config{RunnerURL: "http://127.0.0.1:1"})
		require.NoError(t, err)
		_, claim := w.Running(queuetest.Self(t, c), "lives", queue.JobSpec{}, false)
		w.Running(queuetest.Self(t, c), "lost", queue.JobSpec{}, false)
		for _, id := range []string{"lives", "lost"} {
			_, _, err := w.Report(t.Context(), queuetest.Self(t, c), []queue.RunnerEvent{{ProviderID: id, State: queue.RunnerFailed, Reason: "host-lost", At: time.Now()}})
			require.NoError(t, err)
		}
		for range 13 {
			_, err := w.Renew(t.Context(), claim.LeaseToken, claim.JobID)
			require.NoError(t, err)
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		facts, err := c.Facts(t.Context(), []provisioner.Ref{{ID: "lives"}, {ID: "lost"}})
		require.NoError(t, err)
		require.Len(t, facts, 2)
		for _, f := range facts {
			require.Equal(t, f.Runner == "lost", f.Unwanted, "%+v", f)
			if f.Unwanted {
				require.Equal(t, "lease-lost", f.Reason)
			}
		}
	})
}
