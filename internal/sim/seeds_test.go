package sim_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/sim"
)

// seeds are run by go test; SLIPWAY_SEEDS=n runs n of them, SLIPWAY_SEED=k the
// one, SLIPWAY_TRACE=n makes transcripts n lines long.
const seeds = 200

func TestSeeds(t *testing.T) {
	first, last := uint64(1), uint64(seeds)
	if n := number(t, "SLIPWAY_SEEDS"); n > 0 {
		last = n
	}
	if n := number(t, "SLIPWAY_SEED"); n > 0 {
		first, last = n, n
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			runSeed(t, seed)
		})
	}
}

func number(t *testing.T, variable string) uint64 {
	text := os.Getenv(variable)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, variable)
	return n
}

func runSeed(t *testing.T, seed uint64) {
	setup := sim.Random(seed)
	setup.Trace = int(number(t, "SLIPWAY_TRACE"))
	live(t, setup, func(w *sim.World) {
		w.Trouble(4 * time.Minute)
		w.Calm()
		_ = w.Settle(30 * time.Minute) // it records what is left
	})
}

// live runs the loop in a world of its own while story happens, and fails the
// test if an invariant broke.
func live(t *testing.T, setup sim.Setup, story func(w *sim.World)) {
	t.Helper()
	var w *sim.World
	defer func() { // a bubble in which all wait for ever panics: say in which world
		if p := recover(); p != nil {
			w.Breaks("deadlock", "%v", p)
			failed(t, w, setup)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		w = sim.NewWorld(setup)
		ctx, cancel := context.WithCancel(t.Context())
		var lives sync.WaitGroup
		lives.Go(func() { w.Supervise(ctx) })
		defer func() { // whatever becomes of the story
			cancel()
			lives.Wait()
			failed(t, w, setup)
		}()
		story(w)
	})
}

func failed(t *testing.T, w *sim.World, setup sim.Setup) {
	t.Helper()
	if len(w.Broken()) > 0 {
		t.Errorf("seed %d broke an invariant; the last events, then what broke:\n%s\nrun it again: SLIPWAY_SEED=%d go test -race -run '%s' ./internal/sim",
			setup.Seed, w.Transcript(), setup.Seed, t.Name())
	}
}
