package hosts

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/queue"
)

// ends remembers what was asked to end.
type ends struct {
	mu      sync.Mutex
	calls   [][]string
	reasons []string
	retired [][]string
}

func (e *ends) Retire(runners []string, _ string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retired = append(e.retired, runners)
}

func (e *ends) Terminate(runners []string, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls, e.reasons = append(e.calls, runners), append(e.reasons, reason)
}

func (e *ends) all() [][]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

func (w *world) record(host string, runners ...string) {
	w.t.Helper()
	var put []fleet.Record
	for _, id := range runners {
		put = append(put, fleet.Record{Runner: id, Host: host})
	}
	require.NoError(w.t, w.Records().Save(w.t.Context(), put, nil))
}

func TestDrainStep(t *testing.T) {
	now := time.Now()
	open, due := Host{}, Host{DrainDeadline: now}
	shown, away := fleet.HostState{Online: true, Ready: true}, fleet.HostState{}
	holding := func(st fleet.HostState) fleet.HostState { st.Held = 1; return st }
	for name, test := range map[string]struct {
		host     Host
		recorded int
		state    fleet.HostState
		want     drainDeed
	}{
		"nothing is on record":                       {open, 0, away, drainDone},
		"a launch is on its way":                     {open, 0, holding(shown), drainWait},
		"something runs":                             {open, 1, holding(shown), drainWait},
		"all that is there has ended":                {open, 1, shown, drainDone},
		"what can't be seen is not gone":             {open, 1, away, drainWait},
		"a host that can't see its engine":           {open, 1, fleet.HostState{Online: true}, drainWait},
		"the deadline has come":                      {due, 1, holding(shown), drainEnd},
		"the deadline has come, and the host is off": {due, 1, away, drainEnd},
		"the deadline has come for nothing":          {due, 1, shown, drainDone},
		"the deadline is to come":                    {Host{DrainDeadline: now.Add(1)}, 1, holding(shown), drainWait},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, drainStep(test.host, test.recorded, test.state, now))
		})
	}
}

func TestDrainWaitsForWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h, _ := w.enrolled("a")
		w.record(h.ID, "r1")
		w.fleet.is(h.ID, online("v1.2.0", 1))
		ender := &ends{}
		w.BindTerminator(ender)
		w.run()
		drained, err := w.Drain(t.Context(), "a", 0)
		require.NoError(t, err)
		require.True(t, drained.Draining && drained.Cordoned)
		require.True(t, w.fleet.told(h.ID).Cordoned)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.True(t, w.host("a").Draining, "without a deadline it waits for ever")
		require.Empty(t, ender.all())
		require.Equal(t, []string{"r1"}, ender.retired[0], "what waits for a job need not be waited for")
		require.InDelta(t, 6, len(ender.retired), 1, "asked again now and then: a restart forgets it")
		w.fleet.is(h.ID, online("v1.2.0", 0))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		got := w.host("a")
		require.False(t, got.Draining)
		require.True(t, got.Cordoned, "a drained host stays cordoned")
		require.Contains(t, w.told(), "host-drained host/a")
	})
}

// The deadline is the database's: a hub that was restarted keeps it.
func TestDrainDeadlineSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h, _ := w.enrolled("a")
		other, _ := w.enrolled("b")
		w.record(h.ID, "ended", "r1", "r2")
		w.record(other.ID, "theirs")
		_, err := w.Drain(t.Context(), "a", 10*time.Minute)
		require.NoError(t, err)
		time.Sleep(8 * time.Minute)

		w = w.reopen()
		require.True(t, w.fleet.told(h.ID).Cordoned)
		w.fleet.is(h.ID, online("v1.2.0", 2))
		w.fleet.listing = []backend.Runner{{ID: "ended", State: backend.Exited}, {ID: "r1", State: backend.Running}, {ID: "theirs", State: backend.Running}}
		ender := &ends{}
		w.BindTerminator(ender)
		w.run()
		time.Sleep(110 * time.Second)
		synctest.Wait()
		require.Empty(t, ender.all(), "the deadline is still to come")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.GreaterOrEqual(t, len(ender.all()), 2, "they are asked again")
		require.LessOrEqual(t, len(ender.all()), 6, "but not each second")
		for n, ids := range ender.all() {
			require.Equal(t, []string{"r1", "r2"}, ids, "what ended is let be, what is not seen may run, and others' are not touched")
			require.Equal(t, ReasonDrained, ender.reasons[n])
		}
		require.NoError(t, w.Records().Save(t.Context(), nil, []string{"ended", "r1", "r2"}))
		w.fleet.is(h.ID, online("v1.2.0", 0))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.False(t, w.host("a").Draining)
		asked := len(ender.all())
		time.Sleep(5 * time.Minute)
		require.Len(t, ender.all(), asked)
	})
}

func TestUncordonEndsADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h, _ := w.enrolled("a")
		w.record(h.ID, "r1")
		w.fleet.is(h.ID, online("v1.2.0", 1))
		ender := &ends{}
		w.BindTerminator(ender)
		w.run()
		_, err := w.Drain(t.Context(), "a", time.Minute)
		require.NoError(t, err)
		time.Sleep(50 * time.Second)
		no := false
		edited, err := w.Edit(t.Context(), "a", 0, Change{Cordoned: &no})
		require.NoError(t, err)
		require.False(t, edited.Draining)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Empty(t, ender.all(), "the drain is over")
		require.False(t, w.fleet.told(h.ID).Cordoned)
	})
	w := newWorld(t)
	_, err := w.Drain(t.Context(), "a", -1)
	require.ErrorIs(t, err, queue.ErrInvalid)
	_, err = w.Drain(t.Context(), "a", MaxDrain+1)
	require.ErrorIs(t, err, queue.ErrInvalid)
	_, err = w.Drain(t.Context(), "a", 0)
	require.ErrorIs(t, err, ErrNotFound)
}
