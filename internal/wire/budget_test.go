package wire

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestABudgetSlowsDownWhoSendsTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, open := NewBudget(), make(chan struct{})
		began := time.Now()
		b.spend(bytesBurst, open)
		require.Zero(t, time.Since(began), "an honest peer never waits")
		b.spend(bytesPerSec, open)
		require.InDelta(t, 1, time.Since(began).Seconds(), 0.01)
		for range 10 {
			b.spend(1<<20, open)
		}
		require.InDelta(t, 1+10.0/8, time.Since(began).Seconds(), 0.01)
		time.Sleep(time.Hour)
		began = time.Now()
		b.spend(bytesBurst, open)
		require.Zero(t, time.Since(began))
		over := make(chan struct{})
		close(over)
		b.spend(bytesBurst, over)
		require.Zero(t, time.Since(began), "a link that has ended waits for nothing")
	})
}
