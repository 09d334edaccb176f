package lease

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

func TestWhatBecomesOfALostJob(t *testing.T) {
	for name, test := range map[string]struct {
		loss loss
		want fate
	}{
		"no retry allowed":          {loss{Ours: true, Lost: 1}, fate{State: ledger.StateRunnerLost, Reason: "its runner stopped renewing"}},
		"the first of two retries":  {loss{Ours: true, Lost: 1, Retries: 2}, fate{Again: true, State: ledger.StateQueued, Reason: "runner lost, retry 1 of 2"}},
		"the last retry":            {loss{Ours: true, Lost: 2, Retries: 2}, fate{Again: true, State: ledger.StateQueued, Reason: "runner lost, retry 2 of 2"}},
		"retries used up":           {loss{Ours: true, Lost: 3, Retries: 2}, fate{State: ledger.StateRunnerLost, Reason: "its runner stopped renewing"}},
		"it never began":            {loss{Ours: true, Unused: true, LostUnused: 1}, fate{Again: true, State: ledger.StateQueued, Reason: "its runner was lost before it began"}},
		"it never began, too often": {loss{Ours: true, Unused: true, LostUnused: maxUnused + 1, Retries: 9}, fate{State: ledger.StateRunnerLost, Reason: "its runner stopped renewing"}},
		"not ours is never retried": {loss{Lost: 1, Retries: 5}, fate{State: ledger.StateFailed, Reason: "its runner, not a Slipway runner, stopped renewing"}},
		"cancelled is not retried":  {loss{Ours: true, Lost: 1, Retries: 5, Cancelled: true}, fate{State: ledger.StateCancelled, Reason: "cancelled; its runner did not answer"}},
		"overtime is not retried":   {loss{Ours: true, Lost: 1, Retries: 5, Overtime: true}, fate{State: ledger.StateTimedOut, Reason: "ran past its timeout; its runner did not answer"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, lossOf(test.loss)) })
	}
}
