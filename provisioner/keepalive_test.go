package provisioner

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// thousands is a ledger that has just adopted so many runners.
func thousands(t testing.TB, n int, now time.Time) *ledger {
	l := newLedger(Config{}.withDefaults(), now)
	listing := backend.Listing{Began: now}
	for range n {
		listing.Runners = append(listing.Runners, backend.Runner{ID: newID(now), State: backend.Running})
	}
	l.listed(now, now, listing, nil)
	require.Equal(t, n, len(l.runners))
	return l
}

// reportAll lets every report through, and tells how often each runner was told of
// and how many events went at once.
func reportAll(t testing.TB, l *ledger, now time.Time) (told map[string]int, most int) {
	told = map[string]int{}
	for range 1000 {
		quiet := true
		for _, a := range Plan(l.snapshot(now)) {
			switch a.Do {
			case DoKeepAlive:
				quiet = false
				for _, id := range a.Runners {
					l.post(l.runners[id], EventRunning, "", now)
				}
			case DoReport:
				quiet = false
				for _, e := range l.outbox.take(a.Count) {
					told[e.Runner]++
				}
				l.reported(now, nil)
			}
			most = max(most, len(l.outbox.events))
		}
		if quiet {
			return told, most
		}
	}
	t.Fatal("the reports have no end")
	return nil, 0
}

// Each runner is told of once on adoption, and once in each interval: in a fleet of
// thousands none is crowded out, and news does not wait behind all of them.
func TestKeepAlivesOfThousands(t *testing.T) {
	const n = 6000
	now := time.Now()
	l := thousands(t, n, now)
	told, _ := reportAll(t, l, now)
	require.Equal(t, n, len(told), "an adopted runner was not told of")
	require.Empty(t, l.problems)
	for round := range 2 {
		now = now.Add(l.snap.Limits.KeepAlive)
		told, most := reportAll(t, l, now)
		require.Equal(t, n, len(told), "round %d: a live runner was not told of again", round)
		for _, times := range told {
			require.Equal(t, 1, times)
		}
		require.LessOrEqual(t, most, reportBatch, "news would wait behind more than a report")
		require.Empty(t, l.problems)
	}
}

// While reports fail nothing piles up.
func TestKeepAlivesDontPileUp(t *testing.T) {
	now := time.Now()
	l := thousands(t, 3000, now)
	reportAll(t, l, now)
	for range 20 {
		now = now.Add(l.snap.Limits.KeepAlive)
		for _, a := range Plan(l.snapshot(now)) {
			if a.Do == DoKeepAlive {
				for _, id := range a.Runners {
					l.post(l.runners[id], EventRunning, "", now)
				}
			}
		}
	}
	require.Equal(t, reportBatch, len(l.outbox.events))
}
