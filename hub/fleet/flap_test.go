package fleet_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
)

// flapping is a world whose network breaks all the time, with all that was asked
// of it and what came of that.
type flapping struct {
	*world
	dice *rand.Rand

	mu       sync.Mutex
	answers  map[string]error // of launches
	gone     map[string]bool  // removals that were told as done
	asked    map[string]bool  // removals that were asked for
	launched map[string]int   // how often a runner was started, on whatever host
}

// An agent reconnects more than 200 times while launches and removals are under
// way. At every step the records cover what runs; whenever it is quiet, records,
// runners and counts are the same.
func TestAFlappingAgentNeverDoubleSpawns(t *testing.T) {
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { flap(t, seed) })
	}
}

const seeds = 2

func flap(t *testing.T, seed uint64) {
	bubble(t, func(t *testing.T) {
		f := &flapping{
			dice: rand.New(rand.NewPCG(seed, 2)), answers: map[string]error{}, gone: map[string]bool{}, asked: map[string]bool{}, launched: map[string]int{},
		}
		slow := rand.New(rand.NewPCG(seed, 4))
		var mu sync.Mutex
		engine := memory.Config{
			Fault: func(memory.Call) memory.Fault {
				mu.Lock()
				defer mu.Unlock()
				return memory.Fault{Before: time.Duration(slow.IntN(40)) * time.Millisecond, After: time.Duration(slow.IntN(40)) * time.Millisecond}
			},
			Observe: func(e memory.Event) {
				if e.Kind == memory.Launched {
					f.mu.Lock()
					defer f.mu.Unlock()
					f.launched[e.Spec.ID]++
				}
			},
		}
		f.world = newWorld(t, fleet.Config{Hosts: []fleet.Host{{ID: "a", MaxRunners: 15}, {ID: "b", MaxRunners: 15}}}, engine, "a", "b")
		for _, n := range f.nodes {
			n.config.RetryMin, n.config.RetryMax = time.Millisecond, 20*time.Millisecond
			n.config.LookSpacing = 5 * time.Millisecond
		}
		f.startAll()
		for range 110 {
			f.step()
		}
		require.Greater(t, f.host("a").Epoch, uint64(200), "it did flap")
		require.Greater(t, len(f.launched), 100, "and runners were launched all the same")
	})
}

// step breaks the network a few times while launches and removals are under way,
// then lets it be quiet.
func (f *flapping) step() {
	var deeds sync.WaitGroup
	for range 1 + f.dice.IntN(4) {
		deeds.Go(func() { f.tryLaunch(newID()) })
	}
	if live := f.truth(); len(live) > 0 {
		for range f.dice.IntN(4) {
			id := live[f.dice.IntN(len(live))]
			deeds.Go(func() { f.tryRemove(id) })
		}
	}
	for range 2 + f.dice.IntN(3) {
		time.Sleep(time.Duration(f.dice.IntN(60)) * time.Millisecond)
		f.drop(false)
		f.covered()
		synctest.Wait()
		f.covered()
	}
	f.after(10 * time.Second)
	deeds.Wait()
	f.agreed()
}

func (f *flapping) tryLaunch(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := f.Launch(ctx, spec(id))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[id] = err
}

func (f *flapping) tryRemove(id string) {
	f.mu.Lock()
	f.asked[id] = true
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if f.Remove(ctx, id) == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.gone[id] = true
	}
}

// truth is what lives, on whatever host.
func (f *flapping) truth() (ids []string) {
	for _, n := range f.nodes {
		for _, r := range n.engine.Truth() {
			ids = append(ids, r.Spec.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// covered: at every instant a host's records take up at least the room that its
// runners do, and no more than its cap, and no runner was started twice.
func (f *flapping) covered() {
	f.t.Helper()
	require.NoError(f.t, f.Audit())
	for _, h := range f.Hosts() {
		n := len(f.nodes[h.ID].engine.Truth())
		require.LessOrEqual(f.t, n, h.Held, "host %s", h.ID)
		require.LessOrEqual(f.t, h.Held, 15, "host %s", h.ID)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, n := range f.launched {
		require.Equal(f.t, 1, n, "runner %s was started %d times", id, n)
	}
}

// agreed: when it is quiet everybody says the same.
func (f *flapping) agreed() {
	f.t.Helper()
	f.covered()
	truth := f.truth()
	var listed []string
	for _, r := range f.list() {
		listed = append(listed, r.ID)
		require.Equal(f.t, backend.Running, r.State)
	}
	require.Equal(f.t, truth, listed)
	for _, h := range f.Hosts() {
		require.True(f.t, h.Ready)
		require.Equal(f.t, len(f.nodes[h.ID].engine.Truth()), h.Held, "host %s", h.ID)
	}
	for id, err := range f.answers {
		there := slices.Contains(truth, id)
		switch {
		case f.gone[id] || f.asked[id]:
			require.False(f.t, there, "runner %s was removed, at once or on its host's return", id)
		case err == nil:
			require.True(f.t, there, "runner %s was told as launched", id)
		case backend.IsDefinite(err):
			require.Zero(f.t, f.launched[id], "runner %s was told as never started: %v", id, err)
		}
	}
}
