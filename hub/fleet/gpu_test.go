package fleet_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/internal/wire"
)

func devices(host string, n int) (gpus []agent.GPU) {
	for i := range n {
		gpus = append(gpus, agent.GPU{ID: fmt.Sprint("GPU-", host, i), Name: "card"})
	}
	return gpus
}

func withGPUs(n int) backend.Spec { return of("gpu", func(s *backend.Spec) { s.GPUs = n }) }

func TestGPUsAreGivenById(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b")
		w.nodes["b"].config.Facts.GPUs = devices("b", 3)
		w.startAll()
		require.Equal(t, 1, w.room(withGPUs(2)))
		require.Equal(t, 3, w.room(withGPUs(1)))
		require.Equal(t, 1, w.room(withGPUs(-1)))
		require.Contains(t, w.refused(withGPUs(4)), "2 short of GPUs")
		first := w.launched(withGPUs(2))
		host, spec := w.onEngine(first)
		require.Equal(t, "b", host)
		require.Equal(t, []string{"GPU-b0", "GPU-b1"}, spec.GPUIDs)
		require.Contains(t, w.refused(withGPUs(-1)), "short of GPUs", "all are not free")
		require.Equal(t, "short of GPUs: 1 of 3 are free, and all are asked for", w.why("gpu", "b"))
		require.Equal(t, []string{"GPU-b2"}, w.host("b").FreeGPUs)
		_, spec = w.onEngine(w.launched(withGPUs(1)))
		require.Equal(t, []string{"GPU-b2"}, spec.GPUIDs)
		require.Contains(t, w.refused(withGPUs(1)), "short of GPUs")
		require.True(t, w.nodes["b"].engine.Exit(first, 0))
		w.after(time.Second)
		_, spec = w.onEngine(w.launched(withGPUs(1)))
		require.Equal(t, []string{"GPU-b0"}, spec.GPUIDs)

		err := w.Launch(t.Context(), of("gpu", func(s *backend.Spec) { s.ID, s.GPUIDs = newID(), []string{"GPU-b1"} }))
		require.ErrorIs(t, err, backend.ErrInvalid, "nobody takes a device by himself")
	})
}

const helloGPU = `{"type":"hello","hello":{"protocol":1,"agent":"by-hand","facts":{"cpus":10,"gpus":[{"id":"g0"},{"id":"g1"}]}}}`

// A launch that nobody knows the end of has its device through a restart of the
// hub, though no list shows it; one that made nothing gives it back, and is given
// another if it is tried again.
func TestAnUndecidedLaunchHasItsGPU(t *testing.T) {
	bubble(t, func(t *testing.T) {
		config := fleet.Config{Store: fleet.NewMemoryStore(), Hosts: []fleet.Host{{ID: "a", MaxRunners: 2}}}
		w := newWorld(t, config, memory.Config{}, "a")
		answers := make(chan error, 10)
		launch := func(p *peer, id string) wire.Frame {
			s := of("gpu", func(s *backend.Spec) { s.ID, s.GPUs, s.CPU, s.Memory = id, 1, 1.5, 7 })
			go func() { answers <- w.Launch(t.Context(), s) }()
			return p.next()
		}
		list := func(p *peer, undecided string) {
			p.welcomed()
			p.say(`{"type":"runners","epoch":%d,"runners":{"runners":[],"undecided":[%s],"last":true}}`, p.epoch, undecided)
			synctest.Wait()
		}
		p := w.peer("a", helloGPU)
		list(p, "")
		first, began := newID(), time.Now()
		require.Equal(t, []string{"g0"}, launch(p, first).Spec.GPUIDs)
		p.conn.Close()
		require.ErrorIs(t, <-answers, fleet.ErrOffline)
		records, err := config.Store.Load(t.Context())
		require.NoError(t, err)
		require.Equal(t, fleet.Record{Runner: first, Host: "a", Labels: map[string]string{"template": "gpu"}, CPU: 1.5, Memory: 7, GPUs: []string{"g0"}, Created: began.UTC()}, records[0])

		w.restart(config)
		p = w.peer("a", helloGPU)
		list(p, fmt.Sprintf("%q", first))
		require.Equal(t, []string{"g1"}, w.host("a").FreeGPUs)
		second := newID()
		require.Equal(t, []string{"g1"}, launch(p, second).Spec.GPUIDs)
		require.Contains(t, w.refused(withGPUs(1)), "1 full")
		p.say(`{"type":"changes","epoch":%d,"changes":{"gone":[%q]}}`, p.epoch, first)
		synctest.Wait()
		require.Equal(t, []string{"g0"}, w.host("a").FreeGPUs, "it made nothing")

		require.Equal(t, []string{"g0"}, launch(p, first).Spec.GPUIDs)
		p.conn.Close()
		p = w.peer("a", helloGPU)
		list(p, fmt.Sprintf("%q", second))
		require.Equal(t, []string{"g0"}, w.host("a").FreeGPUs, "it made nothing again")
		third := launch(p, newID())
		require.Equal(t, []string{"g0"}, third.Spec.GPUIDs)
		require.Equal(t, 2, w.host("a").Held)
		s := withGPUs(1)
		s.ID = first
		err = w.Launch(t.Context(), s)
		require.ErrorIs(t, err, backend.ErrExhausted, "its room is another's now")
		p.say(`{"type":"answer","epoch":%d,"id":%d,"error":{"code":"invalid"}}`, p.epoch, third.ID)
		synctest.Wait()
		require.NoError(t, w.Audit())
		w.after(5 * time.Second) // of the back-off
		require.Equal(t, []string{"g0"}, launch(p, first).Spec.GPUIDs)
		require.Equal(t, 2, w.host("a").Held)
		require.NoError(t, w.Audit())
		require.Empty(t, w.host("a").FreeGPUs)
	})
}

// Whatever launches, ends, breaks and restarts: no device is ever with two.
func TestNoGPUIsGivenTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 99), 8, 24).Draw(rt, "steps")
		bubble(t, func(t *testing.T) {
			config := fleet.Config{Store: fleet.NewMemoryStore()}
			w := newWorld(t, config, memory.Config{Fault: func(c memory.Call) memory.Fault {
				if c.Op == memory.OpLaunch {
					return memory.Fault{Before: 30 * time.Millisecond}
				}
				return memory.Fault{}
			}}, "a", "b")
			for id, n := range w.nodes {
				n.config.Facts.GPUs = devices(id, 4)
				n.config.RetryMin, n.config.RetryMax = 10*time.Millisecond, 50*time.Millisecond
			}
			w.startAll()
			for _, step := range steps {
				w.gpuStep(&config, step)
				w.gpusApart()
			}
			w.after(time.Minute)
			w.gpusApart()
			require.NoError(t, w.Audit())
			for _, h := range w.Hosts() {
				require.Len(t, h.FreeGPUs, 4-w.gpusUsed(h.ID), "nor is one lost")
			}
		})
	})
}

func (w *world) gpuStep(config *fleet.Config, step int) {
	var live []memory.Placed
	for _, n := range w.nodes {
		live = append(live, n.engine.Truth()...)
	}
	switch kind := step % 10; {
	case kind < 5:
		for n := range 1 + step%3 {
			s := withGPUs(1 + n)
			s.ID = newID()
			go func() { _ = w.Launch(w.t.Context(), s) }()
		}
		w.after(time.Duration(step) * time.Millisecond)
	case kind == 5 && len(live) > 0:
		_ = w.Remove(w.t.Context(), live[step%len(live)].Spec.ID)
	case kind == 6 && len(live) > 0:
		for _, n := range w.nodes {
			n.engine.Exit(live[step%len(live)].Spec.ID, 0)
		}
	case kind == 7:
		w.drop(false)
		w.after(time.Duration(step) * time.Millisecond)
	case kind == 8: // the hub is killed; at times its records are lost
		if step >= 50 {
			config.Store = fleet.NewMemoryStore()
			w.after(5 * time.Second) // what is under way has come, or is told as such by nobody
		}
		w.restart(*config)
		for _, n := range w.nodes {
			n.start()
		}
		w.after(time.Second)
	}
}

func (w *world) gpusApart() {
	w.t.Helper()
	for id, n := range w.nodes {
		var used []string
		for _, r := range n.engine.Truth() {
			if r.Runner.State.HoldsSlot() {
				require.Len(w.t, r.Spec.GPUIDs, r.Spec.GPUs)
				used = append(used, r.Spec.GPUIDs...)
			}
		}
		slices.Sort(used)
		require.Equal(w.t, slices.Compact(slices.Clone(used)), used, "host %s", id)
		for _, gpu := range used {
			require.Contains(w.t, gpu, "GPU-"+id, "of its own host")
		}
	}
}

func (w *world) gpusUsed(host string) (n int) {
	for _, r := range w.nodes[host].engine.Truth() {
		if r.Runner.State.HoldsSlot() {
			n += len(r.Spec.GPUIDs)
		}
	}
	return n
}
