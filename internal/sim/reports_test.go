package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/slipway-ci/slipway/internal/sim"
	"github.com/slipway-ci/slipway/provisioner"
)

func TestReports(t *testing.T) {
	t.Run("every end is told", func(t *testing.T) {
		setup := able(kind("a", 3, "linux"))
		setup.Script = func(op, _ string, n int) *sim.Fate {
			if op == "report" && n%3 != 0 {
				return &sim.Fate{Err: errNoAnswer, Effect: []sim.Effect{sim.Lands, sim.Never}[n%2]}
			}
			return nil
		}
		setup.Habit = func(_ string, n int) sim.Habit { return []sim.Habit{sim.Honest, sim.Die, sim.Honest}[n%3] }
		live(t, setup, func(w *sim.World) {
			for range 6 {
				w.Submit(10*time.Second, "linux")
			}
			within(t, w, 20*time.Minute, "the jobs are done", w.Done)
			assert.NoError(t, w.Settle(20*time.Minute))
			for _, state := range w.Reported() {
				assert.Contains(t, []provisioner.EventState{provisioner.EventStopped, provisioner.EventFailed, provisioner.EventTerminated}, state)
			}
		})
	})
	t.Run("a live one is told of now and then", func(t *testing.T) {
		live(t, able(kind("a", 1, "linux")), func(w *sim.World) {
			w.Submit(10*time.Minute, "linux")
			within(t, w, 11*time.Minute, "it is done", w.Done)
			assert.InDelta(t, 20, w.Heard(provisioner.EventRunning), 3)
			assert.Equal(t, 1, w.Heard(provisioner.EventStarting))
		})
	})
	t.Run("an end that can't be told waits 10 minutes", func(t *testing.T) {
		setup := able(kind("a", 1, "linux"))
		setup.Script = func(op, _ string, _ int) *sim.Fate {
			if op == "report" {
				return &sim.Fate{Effect: sim.Never, Err: errNoAnswer}
			}
			return nil
		}
		live(t, setup, func(w *sim.World) {
			w.Submit(time.Second, "linux")
			within(t, w, time.Minute, "it ended", func() bool { return w.Count("a").Ended == 1 })
			time.Sleep(9 * time.Minute)
			assert.Equal(t, 1, w.Count("a").Ended)
			within(t, w, 90*time.Second, "it goes without", func() bool { return w.Count("a").Ended == 0 })
		})
	})
}
