package queue

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/controlplanetest"
	"github.com/slipway-ci/slipway/tokens"
)

func TestControlPlaneKeepsItsPromises(t *testing.T) {
	controlplanetest.Run(t, func(t *testing.T) controlplanetest.Harness {
		w := newWorld(t, func(c *Config) { c.ReservationTTL = time.Minute })
		w.run()
		return &harness{world: w}
	})
}

// harness is a queue for the conformance suite.
type harness struct{ *world }

var (
	_ controlplanetest.Harness   = (*harness)(nil)
	_ controlplanetest.Starter   = (*harness)(nil)
	_ controlplanetest.Canceller = (*harness)(nil)
	_ controlplanetest.Recorder  = (*harness)(nil)
)

func (h *harness) Traits() controlplanetest.Traits {
	return controlplanetest.Traits{LostGrant: time.Minute}
}

func (h *harness) Open(t *testing.T) provisioner.ControlPlane {
	plane, err := h.ControlPlane(t.Context(), ControlPlaneConfig{RunnerURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	return plane
}

func (h *harness) Enqueue(t *testing.T, labels []string, n int) {
	for range n {
		_, err := h.Submit(t.Context(), JobSpec{Labels: labels, Run: "true"})
		require.NoError(t, err)
	}
}

func (h *harness) Cancel(t *testing.T, runner string) {
	plane, err := h.ControlPlane(t.Context(), ControlPlaneConfig{RunnerURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	facts, err := plane.Facts(t.Context(), []provisioner.Ref{{ID: runner}})
	require.NoError(t, err)
	require.NotEmpty(t, facts[0].Job)
	_, err = h.Queue.Cancel(t.Context(), facts[0].Job)
	require.NoError(t, err)
}

func (h *harness) State(t *testing.T, id string) provisioner.EventState {
	var state string
	require.NoError(t, h.read(t.Context(), func(tx *tx) (err error) {
		state, _, err = store.One(tx.Tx, store.Value[string], `SELECT state FROM runners WHERE provider_runner_id = ?`, id)
		return err
	}))
	return provisioner.EventState(state)
}

func (h *harness) Start(t *testing.T, registration provisioner.Registration) controlplanetest.Runner {
	r := &startedRunner{h: h, labels: strings.Split(registration.Env["SHIPFOX_RUNNER_LABELS"], ",")}
	session, err := h.Exchange(t.Context(), registration.Env["SHIPFOX_RUNNER_BOOTSTRAP_TOKEN"])
	require.NoError(t, err)
	r.control = session.Token.Reveal()
	r.activation, err = h.Enrol(t.Context(), r.control, Enrolment{Labels: r.labels, Kind: "test"})
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
	if errors.Is(err, ErrSessionExhausted) {
		return false
	}
	require.NoError(t, err)
	return found
}

func TestTheProvisionerOfThisProcessStaysTheSame(t *testing.T) {
	w := newWorld(t)
	first, err := w.ControlPlane(t.Context(), ControlPlaneConfig{RunnerURL: "http://a"})
	require.NoError(t, err)
	again, err := w.ControlPlane(t.Context(), ControlPlaneConfig{RunnerURL: "http://b"})
	require.NoError(t, err)
	other, err := w.ControlPlane(t.Context(), ControlPlaneConfig{RunnerURL: "http://b", Name: "second"})
	require.NoError(t, err)
	require.Equal(t, first.self, again.self, "its id owns what it launched before a restart")
	require.NotEqual(t, first.self, other.self)
	_, err = w.ControlPlane(t.Context(), ControlPlaneConfig{})
	require.ErrorContains(t, err, "RunnerURL")
}

// A warm runner that is retired must never get a job, however the two race.
func TestRetireRacesAdoption(t *testing.T) {
	w := newWorld(t)
	plane, err := w.ControlPlane(t.Context(), ControlPlaneConfig{RunnerURL: "http://a"})
	require.NoError(t, err)
	h := &harness{world: w}
	for i := range 10 {
		id, label := fmt.Sprint("r", i), fmt.Sprint("l", i)
		minted, err := plane.Mint(t.Context(), []provisioner.MintRequest{{Runner: id, Template: "t", Labels: []string{label}}})
		require.NoError(t, err)
		runner := h.Start(t, minted[0])
		var (
			wg      sync.WaitGroup
			retired []string
			job     Job
		)
		wg.Go(func() { job, err = w.Submit(t.Context(), JobSpec{Labels: []string{label}, Run: "true"}) })
		wg.Go(func() { retired, _ = plane.Retire(t.Context(), []provisioner.Ref{{ID: id}}) })
		wg.Wait()
		require.NoError(t, err)
		took := runner.Take(t)
		require.NotEqual(t, len(retired) == 1, took, "either it is retired or it gets the job, never both, never neither")
		require.Equal(t, map[bool]State{true: StateRunning, false: StateQueued}[took], w.state(job))
	}
}

// What is asked about a fleet of thousands comes in several queries: each runner is
// told once, with its own facts, and one that was never heard of is left out.
func TestFactsOfThousands(t *testing.T) {
	w := newWorld(t)
	plane, err := w.ControlPlane(t.Context(), ControlPlaneConfig{RunnerURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	other, err := w.ControlPlane(t.Context(), ControlPlaneConfig{Name: "other", RunnerURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	var refs []provisioner.Ref
	var events []provisioner.Event
	for i := range 2*factsAtOnce + 10 {
		id := fmt.Sprintf("runner-%04d", i)
		refs = append(refs, provisioner.Ref{ID: id})
		if i%10 != 0 {
			events = append(events, provisioner.Event{Runner: id, State: provisioner.EventRunning, At: time.Now()})
		}
	}
	require.NoError(t, plane.Report(t.Context(), events))
	require.NoError(t, other.Report(t.Context(), []provisioner.Event{{Runner: "runner-0000", State: provisioner.EventRunning, At: time.Now()}}))
	require.NoError(t, w.write(t.Context(), func(t *tx) error {
		_, err := t.Exec(`UPDATE runners SET enrolled_at = 1 WHERE provider_runner_id = 'runner-0001'`)
		if err == nil {
			_, err = t.Exec(`UPDATE runners SET intent = 'job-cancelled' WHERE provider_runner_id = 'runner-1001'`)
		}
		return err
	}))
	facts, err := plane.Facts(t.Context(), refs)
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
	facts, err = plane.Facts(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, facts)
}

// A host that comes back after a long cut brings runners whose leases were lost
// meanwhile: they are not wanted any more. One that was told as ended, and whose lease
// lives, goes on.
func TestARunnerWithoutItsLeaseIsUnwanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		c, err := w.ControlPlane(t.Context(), ControlPlaneConfig{RunnerURL: "http://127.0.0.1:1"})
		require.NoError(t, err)
		_, claim := w.running(c.self, "lives", JobSpec{}, false)
		w.running(c.self, "lost", JobSpec{}, false)
		for _, id := range []string{"lives", "lost"} {
			_, _, err := w.Report(t.Context(), c.self, []RunnerEvent{{ProviderID: id, State: RunnerFailed, Reason: "host-lost", At: time.Now()}})
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
