// Package foxtest is for tests of what speaks the Shipfox API: a real hub on
// loopback, and runners that speak to it as the API's own do, without running
// anything.
package foxtest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/tokens"
)

// World is a hub with one provisioner token.
type World struct {
	Hub   *hub.Hub
	Token tokens.Token
}

// reservationTTL is short, so that what a lost answer promised is soon free again. It
// must be enough from a grant to its runner's start.
const reservationTTL = 5 * time.Second

// New opens a hub, serves it until the test ends, and makes a token of the
// generation (head, ert or pr).
func New(t testing.TB, generation string, adjust ...func(*hub.Config)) *World {
	t.Helper()
	config := hub.Config{
		DataDir: storetest.Dir(t), Listen: "127.0.0.1:0", MinFree: 1, MinFreePercent: 0.0001, Reserve: 4096,
		ReservationTTL: reservationTTL,
	}
	for _, a := range adjust {
		a(&config)
	}
	h, err := hub.Open(t.Context(), config)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	_, token, err := h.Queue().CreateToken(t.Context(), queue.TokenSpec{Kind: tokens.Provisioner, Generation: queue.Generation(generation)})
	require.NoError(t, err)
	return &World{Hub: h, Token: token}
}

// Submit adds n jobs that ask for labels and run the script, and returns their ids.
func (w *World) Submit(t testing.TB, n int, script string, labels ...string) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		job, err := w.Hub.Queue().Submit(t.Context(), queue.JobSpec{Labels: labels, Run: script})
		require.NoError(t, err)
		ids[i] = job.ID
	}
	return ids
}

// Count tells how many jobs are in each state.
func (w *World) Count(t testing.TB) map[queue.State]int {
	t.Helper()
	count := map[queue.State]int{}
	for cursor := ""; ; {
		jobs, next, err := w.Hub.Queue().Jobs(context.WithoutCancel(t.Context()), queue.JobFilter{Cursor: cursor})
		require.NoError(t, err)
		for _, job := range jobs {
			count[job.State]++
		}
		if next == "" {
			return count
		}
		cursor = next
	}
}
