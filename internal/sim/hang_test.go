package sim_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/sim"
)

// waits runs 20 jobs of template b beside 12 of template a, and tells how long
// those of b waited for their runner.
func waits(t *testing.T, hang func(op, key string, n int) bool) []time.Duration {
	setup := able(kind("a", 12, "gpu"), kind("b", 20, "linux"))
	setup.Hosts = []int{20, 20}
	setup.Limits.LaunchParallelism = 4
	setup.Limits.MaxLifetime = 30 * time.Minute
	setup.Habit = func(template string, n int) sim.Habit {
		if template == "a" && n < 2 && hang("runner", "a", n) {
			return sim.Mute
		}
		return sim.Honest
	}
	setup.Script = func(op, key string, n int) *sim.Fate {
		if hang(op, key, n) {
			return &sim.Fate{Hang: true, Effect: sim.Never}
		}
		return nil
	}
	var waited []time.Duration
	live(t, setup, func(w *sim.World) {
		for range 12 {
			w.Submit(5*time.Second, "gpu")
		}
		var jobs []int
		for range 20 {
			time.Sleep(3 * time.Second)
			jobs = append(jobs, w.Submit(2*time.Second, "linux"))
		}
		time.Sleep(2 * time.Minute)
		for _, n := range jobs {
			d, ok := w.Waited(n)
			if !ok {
				d = time.Hour
			}
			waited = append(waited, d)
		}
	})
	return waited
}

func TestInvariant09OneThatHangsStopsNoOther(t *testing.T) {
	calm := waits(t, func(string, string, int) bool { return false })
	require.Less(t, slices.Max(calm), 12*time.Second, "2 s to start, 5 s to register, and a little")
	for name, hang := range map[string]func(op, key string, n int) bool{
		"a runner that never registers":  func(op, key string, _ int) bool { return op == "runner" },
		"one launch":                     func(op, key string, n int) bool { return op == "launch" && key == "a" && n == 0 },
		"every launch of the template":   func(op, key string, _ int) bool { return op == "launch" && key == "a" },
		"the fetch of the image":         func(op, key string, _ int) bool { return op == "prepare" && key == "image-a" },
		"one mint":                       func(op, key string, n int) bool { return op == "mint" && key == "a" && n == 0 },
		"every mint for the template":    func(op, key string, _ int) bool { return op == "mint" && key == "a" },
		"every announcement of it":       func(op, key string, _ int) bool { return op == "announce" && key == "a" },
		"every removal of its runners":   func(op, key string, _ int) bool { return op == "remove" && key == "a" },
		"every retirement of them":       func(op, key string, _ int) bool { return op == "retire" && key == "a" },
		"one list":                       func(op, key string, n int) bool { return op == "list" && n == 9 },
		"one look at the room":           func(op, key string, n int) bool { return op == "capacity" && n == 9 },
		"all asks for facts":             func(op, key string, _ int) bool { return op == "facts" },
		"all reports":                    func(op, key string, _ int) bool { return op == "report" },
		"launches and mints alternately": func(op, key string, n int) bool { return key == "a" && (op == "launch" || op == "mint" && n%2 == 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hung := waits(t, hang)
			for i := range calm {
				assert.LessOrEqual(t, hung[i], 2*calm[i], "job %d", i)
			}
		})
	}
}

func TestAHangingLaunchGivesItsSlotBack(t *testing.T) {
	setup := able(kind("a", 12, "gpu"), kind("b", 12, "tpu"), kind("c", 12, "linux"))
	setup.Limits.LaunchParallelism = 4
	setup.Script = func(op, key string, _ int) *sim.Fate {
		if op == "launch" && key != "c" {
			return &sim.Fate{Hang: true, Effect: sim.Never}
		}
		return nil
	}
	live(t, setup, func(w *sim.World) {
		for range 12 {
			w.Submit(time.Second, "gpu")
			w.Submit(time.Second, "tpu")
		}
		time.Sleep(25 * time.Second) // the two hold all slots by now, and their images are there
		for range 10 {
			n := w.Submit(time.Second, "linux")
			time.Sleep(40 * time.Second)
			waited, ok := w.Waited(n)
			assert.True(t, ok && waited < 35*time.Second, "%s", waited)
		}
	})
}
