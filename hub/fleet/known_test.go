package fleet_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/internal/wire"
)

// After a restart of the hub a host that is away is shown as it was last known; when
// its agent is there, what that tells counts, whatever is set later.
func TestAHostThatIsAwayIsShownAsLastKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		known := fleet.Host{
			ID: "a", LastSeen: time.Now().Add(-time.Hour),
			LastFacts: fleet.Facts{OS: "linux", CPUs: 6, MaxRunners: 5, Runtimes: []string{"runc"}, Disk: fleet.Disk{Free: 7, Total: 9}},
		}
		w := newWorld(t, fleet.Config{Hosts: []fleet.Host{known}}, memory.Config{}, "a")
		known.LastFacts.Runtimes[0] = "changed by its owner"
		st := w.host("a")
		require.Equal(t, []any{5, "linux", 6, []string{"runc"}, fleet.Disk{Free: 7, Total: 9}}, []any{st.Cap, st.Facts.OS, st.Facts.CPUs, st.Facts.Runtimes, st.Facts.Disk})
		require.False(t, st.Online || st.Pending)
		require.Zero(t, w.room(of("small")), "it takes nothing")
		w.after(11 * time.Minute)
		require.True(t, w.host("a").Lost, "it was there, once")

		w.startAll()
		require.Equal(t, 20, w.host("a").Cap)
		require.NoError(t, w.SetHost(known))
		require.Equal(t, 20, w.host("a").Cap, "its agent knows better")
		w.nodes["a"].stop()
		w.after(time.Second)
		require.Equal(t, 20, w.host("a").Cap)
	})
}

// Who was never there can't be lost.
func TestAHostThatWasNeverThereIsPending(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := fleet.NewMemoryStore()
		require.NoError(t, store.Save(t.Context(), []fleet.Record{{Runner: "r", Host: "b"}}, nil))
		w := newWorld(t, fleet.Config{Store: store, Hosts: []fleet.Host{{ID: "a"}, {ID: "b"}}}, memory.Config{}, "a", "b")
		w.after(time.Hour)
		st := w.host("a")
		require.True(t, st.Pending && !st.Lost, "%+v", st)
		require.Contains(t, st.Problem, "pending")
		require.True(t, w.host("b").Lost, "it has a runner, so it was there")

		w.startAll()
		require.False(t, w.host("a").Pending)
		w.nodes["a"].stop()
		w.after(11 * time.Minute)
		require.True(t, w.host("a").Lost)
	})
}

// A host whose token is good may tell any engine as its own, also that of a machine
// which is yet to come: both are shown, with what to do, and doing it helps, whatever
// the liar has run meanwhile.
func TestAnEngineThatWasClaimedIsLetGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		greet := func(agent string) string {
			return fmt.Sprintf(`{"type":"hello","hello":{"protocol":1,"agent":%q,"engine":"engine-true","facts":{"cpus":4}}}`, agent)
		}
		w := newWorld(t, fleet.Config{}, memory.Config{}, "liar", "true")
		p := w.peer("liar", greet("agent-liar"))
		p.welcomed()
		require.NoError(t, w.SetHost(fleet.Host{ID: "liar", Agent: "agent-liar", Engine: "engine-true"}))
		p.say(`{"type":"runners","epoch":%d,"runners":{"runners":[{"id":"r","state":"running"}],"last":true}}`, p.epoch)
		synctest.Wait()
		require.Equal(t, 1, w.host("liar").Held)

		require.Equal(t, wire.Duplicated, w.peer("true", greet("agent-true")).farewell())
		require.Regexp(t, "^host-duplicated: with true, .*slipway hosts revoke", w.host("liar").Problem)
		require.Regexp(t, "^host-duplicated: with liar, .*slipway hosts revoke", w.host("true").Problem)
		require.Contains(t, w.log.String(), "slipway hosts revoke")

		p.conn.Close()
		w.after(time.Second)
		require.Equal(t, wire.Duplicated, w.peer("true", greet("agent-true")).farewell(), "it is the liar's while nobody has said otherwise")
		require.NoError(t, w.SetHost(fleet.Host{ID: "liar", Agent: "agent-liar"})) // revoked
		w.peer("true", greet("agent-true")).welcomed()
		require.Empty(t, w.host("true").Problem)
	})
}

// Who asks for a removal in the moment of the return has decided on a list of before,
// in which the runner had ended: it is not done, now or later.
func TestARemovalOfALostRunnerIsNotDoneAsTheHostReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		w.startAll()
		id := w.launch()
		w.nodes["a"].stop()
		w.after(11 * time.Minute)
		require.ErrorIs(t, w.Remove(t.Context(), id), fleet.ErrLost)
		greet := `{"type":"hello","hello":{"protocol":1,"agent":"agent-a","engine":"engine-a","facts":{"cpus":20}}}`
		p := w.peer("a", greet)
		p.welcomed()
		require.ErrorIs(t, w.Remove(t.Context(), id), fleet.ErrLost, "connected, and without its list")
		p.conn.Close()
		w.after(time.Second)
		require.ErrorIs(t, w.Remove(t.Context(), id), fleet.ErrLost, "away again")

		p = w.peer("a", greet)
		p.welcomed()
		p.say(`{"type":"runners","epoch":%d,"runners":{"runners":[{"id":%q,"state":"running"}],"last":true}}`, p.epoch, id)
		synctest.Wait()
		require.Equal(t, backend.Running, w.shown(id).State)
		require.ErrorIs(t, w.Remove(t.Context(), id), fleet.ErrLost, "listed a moment ago")
		p.obey(func(wire.Frame) bool { return true })
		require.NoError(t, w.Remove(t.Context(), w.launch()), "a new one is nobody's mistake")

		w.after(time.Minute)
		require.Equal(t, backend.Running, w.shown(id).State)
		require.NoError(t, w.Remove(t.Context(), id), "whoever wants it now has seen it alive")
		require.Empty(t, w.shown(id))
	})
}
