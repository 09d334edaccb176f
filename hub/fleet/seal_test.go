package fleet_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/fleet/records"
	"github.com/slipway-ci/slipway/internal/wire"
)

func sealing(key string) fleet.Config { return fleet.Config{SealKey: []byte(key)} }

// A hub that was restored from a backup knows the runners that were launched since
// by their seals, and tells their labels as they were.
func TestAHubThatLostItsRecordsKnowsItsRunnersByTheirSeals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, sealing("key"), memory.Config{}, "a")
		w.startAll()
		id := w.launch()
		w.after(2 * time.Second)
		require.Equal(t, map[string]string{"template": "small"}, w.shown(id).Labels, "the seal is told in no listing")
		_, onEngine := w.onEngine(id)
		require.NotEmpty(t, onEngine.Labels[records.LabelSeal])

		w.restart(sealing("key"))
		w.startAll()
		require.Equal(t, backend.Running, w.shown(id).State)
		require.Equal(t, map[string]string{"template": "small"}, w.shown(id).Labels)
		require.Empty(t, w.host("a").Problem)

		w.restart(sealing("another"))
		w.startAll()
		require.Empty(t, w.list())
		require.Contains(t, w.host("a").Problem, "foreign-runners: it tells of 1 runner that it was not given")
	})
}

// A seal is good for its runner on its host, with the labels that it had there.
func TestASealVouchesForNothingElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, sealing("key"), memory.Config{}, "a", "b")
		w.nodes["a"].start()
		w.after(time.Second)
		id := w.launch()
		_, spec := w.onEngine(id)
		require.NoError(t, w.Remove(t.Context(), id))
		w.nodes["a"].stop()
		told := func(why, id string, labels map[string]string) {
			for _, host := range []string{"b", "a"} {
				p := w.readyPeer(host)
				p.sayFrame(wire.Frame{Type: wire.Changes, Epoch: p.epoch, Changes: &wire.Changed{Runners: []wire.Runner{{ID: id, Labels: labels, State: backend.Running}}}})
				w.after(time.Second)
				require.Empty(t, w.list(), "on host %s: %s", host, why)
				require.Contains(t, w.host(host).Problem, "foreign-runners")
				require.NoError(t, p.conn.Close())
				w.after(time.Second)
			}
		}
		told("another id", newID(), spec.Labels)
		p := w.readyPeer("b")
		p.sayFrame(wire.Frame{Type: wire.Changes, Epoch: p.epoch, Changes: &wire.Changed{Runners: []wire.Runner{{ID: id, Labels: spec.Labels, State: backend.Running}}}})
		w.after(time.Second)
		require.Empty(t, w.list(), "it is of another host")
		other := map[string]string{"template": "large", records.LabelSeal: spec.Labels[records.LabelSeal]}
		told("other labels", id, other)
		told("no seal", id, map[string]string{"template": "small"})
	})
}

// Who was given many runners, one after the other, and tells of them all again, has
// no more than its cap.
func TestOldSealsTakeNoMoreThanTheHostsCap(t *testing.T) {
	bubble(t, func(t *testing.T) {
		config := sealing("key")
		config.Hosts = []fleet.Host{{ID: "a", MaxRunners: 2}}
		w := newWorld(t, config, memory.Config{}, "a")
		w.nodes["a"].start()
		w.after(time.Second)
		var old []wire.Runner
		for range 5 {
			id := w.launch()
			_, spec := w.onEngine(id)
			require.NoError(t, w.Remove(t.Context(), id))
			old = append(old, wire.Runner{ID: id, Labels: spec.Labels, State: backend.Running})
		}
		w.nodes["a"].stop()
		p := w.readyPeer("a")
		text, err := json.Marshal(old)
		require.NoError(t, err)
		p.say(`{"type":"changes","epoch":%d,"changes":{"runners":%s}}`, p.epoch, text)
		w.after(time.Second)
		require.Len(t, w.list(), 2)
		require.Equal(t, 2, w.host("a").Held)
		for i := range old {
			old[i].State = backend.Exited
		}
		text, err = json.Marshal(old)
		require.NoError(t, err)
		p.say(`{"type":"changes","epoch":%d,"changes":{"runners":%s}}`, p.epoch, text)
		w.after(time.Second)
		require.Len(t, w.list(), 5, "what has ended is told, so that it is removed")
	})
}
