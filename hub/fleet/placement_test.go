package fleet_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/fleet/records"
)

// of is a spec of that template.
func of(template string, change ...func(*backend.Spec)) backend.Spec {
	s := spec("")
	s.Labels = map[string]string{"template": template}
	for _, c := range change {
		c(&s)
	}
	return s
}

func TestATemplateGoesWhereItIsPlaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{Hosts: []fleet.Host{
			{ID: "a", Labels: map[string]string{"zone": "x", "disk": "fast"}}, {ID: "b", Labels: map[string]string{"zone": "x"}}, {ID: "c"},
		}}, memory.Config{}, "a", "b", "c")
		w.startAll()
		w.SetPlacements(map[string]fleet.Placement{
			"by-id":    {Hosts: []string{"c", "gone"}},
			"by-label": {Selector: map[string]string{"zone": "x", "disk": "fast"}},
			"either":   {Hosts: []string{"c"}, Selector: map[string]string{"zone": "x"}},
			"empty":    {},
		})
		for template, want := range map[string]int{"by-id": 20, "by-label": 20, "either": 60, "empty": 0, "unknown": 0, "": 0} {
			require.Equal(t, want, w.room(of(template)), template)
		}
		require.Contains(t, w.refused(of("unknown")), "3 not targeted")
		require.Contains(t, w.refused(of("empty")), "3 not targeted")
		require.Contains(t, w.refused(of("")), "3 not targeted", "a runner of no template goes nowhere")
		for range 3 {
			host, _ := w.onEngine(w.launched(of("by-id")))
			require.Equal(t, "c", host)
			host, _ = w.onEngine(w.launched(of("by-label")))
			require.Equal(t, "a", host)
		}
		require.Equal(t, "not targeted", w.why("by-id", "a"))
		require.Empty(t, w.why("by-id", "c"))
		require.ErrorContains(t, w.Prepare(t.Context(), of("empty")), "3 not targeted")

		require.NoError(t, w.SetHost(fleet.Host{ID: "b", Labels: map[string]string{"zone": "x", "disk": "fast"}}))
		require.Equal(t, 37, w.room(of("by-label")), "an edit counts at once")
		w.SetPlacements(map[string]fleet.Placement{})
		require.Zero(t, w.room(of("by-id")))
		require.Len(t, w.list(), 6, "what runs stays")
		w.SetPlacements(nil)
		require.Equal(t, 54, w.room(of("by-id")), "every host takes every template")
	})
}

func TestTheLeastOfAllCapsCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{Hosts: []fleet.Host{{ID: "a", MaxRunners: 10}}}, memory.Config{}, "a")
		w.nodes["a"].config.Facts.MaxRunners = 4
		w.startAll()
		w.SetPlacements(map[string]fleet.Placement{"small": {Hosts: []string{"a"}, PerHostMax: 3}, "large": {Hosts: []string{"a"}}})
		require.Equal(t, 3, w.room(of("small")))
		require.Equal(t, 4, w.room(of("large")), "the policy's")
		var last string
		for range 3 {
			last = w.launched(of("small"))
		}
		require.Contains(t, w.refused(of("small")), "1 at the scale set's cap")
		require.Equal(t, "at the scale set's cap: 3 of 3 runners", w.why("small", "a"))
		require.Equal(t, 1, w.room(of("large")))
		w.launched(of("large"))
		require.Contains(t, w.refused(of("large")), "1 full")
		require.Equal(t, "full: 4 of 4 runners", w.why("large", "a"))
		require.Equal(t, 4, w.host("a").Cap)
		require.NoError(t, w.Remove(t.Context(), last))
		require.Equal(t, 1, w.room(of("small")))
	})
}

func TestPlatformsAndRuntimes(t *testing.T) {
	isolated := func(s *backend.Spec) { s.Labels["template"] = "isolated" }
	named := func(name string) func(*backend.Spec) { return func(s *backend.Spec) { s.Runtime = name } }
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b", "c")
		w.nodes["a"].config.Facts = agent.Facts{CPUs: 20, OS: "linux", Arch: "amd64", Runtimes: []string{"runc"}}
		w.nodes["b"].config.Facts = agent.Facts{CPUs: 20, OS: "linux", Arch: "amd64", Runtimes: []string{"runc", "runsc", "sysbox-runc", "other"}}
		w.nodes["c"].config.Facts = agent.Facts{CPUs: 20, OS: "linux", Arch: "arm64", Runtimes: []string{"runc", "runsc"}}
		w.startAll()
		all := []string{"a", "b", "c"}
		w.SetPlacements(map[string]fleet.Placement{"small": {Hosts: all}, "isolated": {Hosts: all, Isolated: true}})

		arm := of("small", func(s *backend.Spec) { s.OS, s.Arch = "linux", "arm64" })
		require.Equal(t, 20, w.room(arm))
		require.Equal(t, "of another platform: linux/amd64, and linux/arm64 is asked for", w.why("small", "a"))
		host, _ := w.onEngine(w.launched(arm))
		require.Equal(t, "c", host)
		require.Contains(t, w.refused(of("small", func(s *backend.Spec) { s.OS = "windows" })), "3 of another platform")

		require.Equal(t, 39, w.room(of("isolated")))
		used := map[string]string{}
		for range 4 {
			host, spec := w.onEngine(w.launched(of("isolated")))
			used[host] = spec.Runtime
		}
		require.Equal(t, map[string]string{"b": "sysbox-runc", "c": "runsc"}, used, "the best that the host has, in the launch")
		require.Equal(t, "without the runtime: it has runc, and one of sysbox-runc, kata-runtime, runsc is asked for", w.why("isolated", "a"))
		for _, v := range w.Explain("isolated") {
			require.Equal(t, used[v.Host], v.Runtime)
		}
		host, spec := w.onEngine(w.launched(of("small", named("other"))))
		require.Equal(t, []string{"b", "other"}, []string{host, spec.Runtime})
		require.Contains(t, w.refused(of("small", named("nope"))), "3 without the runtime")
		require.Contains(t, w.refused(of("small", isolated, named("other"))), "without the runtime", "one that does not isolate does not do")
		_, spec = w.onEngine(w.launched(of("small")))
		require.Empty(t, spec.Runtime, "shared: the engine's own")
	})
}

func TestRoomInCPUAndMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := fleet.NewMemoryStore()
		config := fleet.Config{Store: store, Hosts: []fleet.Host{{ID: "a", MaxRunners: 100}}}
		w := newWorld(t, config, memory.Config{}, "a")
		w.nodes["a"].config.Facts = agent.Facts{CPUs: 4, Memory: 8 << 30}
		w.startAll()
		cpu := of("cpu", func(s *backend.Spec) { s.CPU, s.Memory = 0.3, 1<<20 })
		mem := of("mem", func(s *backend.Spec) { s.CPU, s.Memory = 0.1, 3<<30 })
		require.Equal(t, 13, w.room(cpu))
		require.Equal(t, 2, w.room(mem))
		require.Equal(t, 100, w.room(of("none")), "one without limits takes up none of it")
		first := w.launched(mem)
		w.launched(mem)
		require.Contains(t, w.refused(mem), "1 short of memory")
		require.Equal(t, "short of memory: 6144 MiB of 8192 MiB are given away, and 3072 MiB asked for", w.why("mem", "a"))
		for range 12 {
			w.launched(cpu)
		}
		require.Contains(t, w.refused(cpu), "1 short of CPU")
		require.Equal(t, "short of CPU: 3.8 CPUs of 4 CPUs are given away, and 0.3 CPUs asked for", w.why("cpu", "a"))

		// A hub that comes back knows it, from its records, before and after its host is there.
		w.restart(config)
		w.nodes["a"].start()
		w.after(time.Second)
		require.Zero(t, w.room(cpu))
		require.Zero(t, w.room(mem))
		// And one that has lost its records, from its hosts.
		config.Store = fleet.NewMemoryStore()
		w.restart(config)
		w.nodes["a"].start()
		w.after(time.Second)
		require.Zero(t, w.room(cpu))
		require.Zero(t, w.room(mem))
		require.NotContains(t, w.shown(first).Labels, records.LabelShare, "labels come back as they were")
		require.True(t, w.nodes["a"].engine.Exit(first, 0))
		w.after(time.Second)
		require.Equal(t, 1, w.room(mem), "what has ended takes up nothing")

		config.OvercommitCPU, config.OvercommitMemory = 2, 1.5
		w.restart(config)
		w.nodes["a"].start()
		w.after(time.Second)
		require.Equal(t, 14, w.room(cpu))
		require.Equal(t, 2, w.room(mem))
	})
}

func TestTheDiskFloor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var free atomic.Int64
		free.Store(10 << 30)
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b")
		w.nodes["a"].config.Facts.Disk = agent.Disk{Free: free.Load(), Total: 100 << 30}
		w.nodes["a"].config.Stats = func(context.Context) (agent.Stats, error) {
			return agent.Stats{CPUs: 1.5, Memory: 5, Load: 0.5, Disk: agent.Disk{Free: free.Load(), Total: 100 << 30}}, nil
		}
		w.startAll()
		w.SetPlacements(map[string]fleet.Placement{"floor": {Hosts: []string{"a", "b"}, MinDiskFree: 5 << 30}, "none": {Hosts: []string{"a", "b"}}})
		require.Equal(t, 20, w.room(of("floor")))
		require.Equal(t, 40, w.room(of("none")))
		require.Equal(t, "short of disk: it tells nothing of its disk", w.why("floor", "b"))
		free.Store(4 << 30)
		w.after(2 * time.Minute)
		require.Zero(t, w.room(of("floor")), "the disk has filled up meanwhile")
		require.Equal(t, "short of disk: 4096 MiB are free, and the floor is 5120 MiB", w.why("floor", "a"))
		h := w.host("a")
		require.Equal(t, fleet.Usage{CPUs: 1.5, Memory: 5, Load: 0.5, Disk: fleet.Disk{Free: free.Load(), Total: 100 << 30}}, h.Usage)
		require.Less(t, time.Since(h.UsageAt), 90*time.Second)
		require.Zero(t, w.host("b").UsageAt, "an agent that can't tell")
	})
}

// 60 launches over three equal hosts come out even, whatever a host's start was.
func TestLaunchesAreSpreadEvenly(t *testing.T) {
	pulling := func(d time.Duration) memory.Config {
		return memory.Config{Pull: func(string) (time.Duration, error) { return d, nil }}
	}
	for name, begin := range map[string]func(w *world){
		"all alike": func(w *world) { w.startAll() },
		"one has the image": func(w *world) {
			w.nodes["a"].start()
			w.after(time.Second)
			require.NoError(w.t, w.Prepare(w.t.Context(), spec("")))
			w.startAll()
		},
		"one is fetching it for a while": func(w *world) {
			w.nodes["c"].engine = memory.New(pulling(15 * time.Second))
			w.startAll()
			require.NoError(w.t, w.Prepare(w.t.Context(), spec("")))
			for range 30 {
				w.launch()
			}
			require.Equal(w.t, "a15 b15 c0 ", w.spread())
			w.after(15 * time.Second)
		},
		"one has reconnected": func(w *world) {
			w.startAll()
			require.NoError(w.t, w.Prepare(w.t.Context(), spec("")))
			for range 30 {
				w.launch()
			}
			w.nodes["b"].stop()
			w.after(time.Second)
			w.nodes["b"].start()
			w.after(time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, fleet.Config{Hosts: []fleet.Host{{ID: "a", MaxRunners: 100}, {ID: "b", MaxRunners: 100}, {ID: "c", MaxRunners: 100}}}, memory.Config{}, "a", "b", "c")
				begin(w)
				var all sync.WaitGroup
				for range 60 - len(w.list()) { // at once: launches in flight count
					all.Go(func() { w.launch() })
				}
				all.Wait()
				require.Equal(t, "a20 b20 c20 ", w.spread())
			})
		})
	}
}

// A host that was away is not made up for it: all that comes would go there.
func TestAReturnFloodsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{Hosts: []fleet.Host{{ID: "a", MaxRunners: 100}, {ID: "b", MaxRunners: 100}}}, memory.Config{}, "a", "b")
		w.nodes["a"].start()
		w.after(time.Second)
		for range 30 {
			w.launch()
		}
		w.nodes["b"].start()
		w.after(time.Second)
		for range 10 {
			w.launch()
		}
		require.Equal(t, "a35 b5 ", w.spread())
	})
}

// Two templates, one for some hosts and one for all, leave no host out.
func TestTurnsAcrossTemplates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b", "c")
		w.startAll()
		w.SetPlacements(map[string]fleet.Placement{"some": {Hosts: []string{"a", "b"}}, "all": {Hosts: []string{"a", "b", "c"}}})
		for range 15 {
			w.launched(of("some"))
			w.launched(of("all"))
		}
		require.Equal(t, "a10 b10 c10 ", w.spread())
	})
}

// What Capacity says is what can be launched, whatever is asked for.
func TestCapacityIsWhatCanBeLaunched(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cpus := rapid.SampledFrom([]float64{0, 0.5, 1, 3})
		asked := of("small", func(s *backend.Spec) {
			s.CPU, s.Memory = cpus.Draw(rt, "cpu"), rapid.Int64Range(0, 3).Draw(rt, "memory")<<30
			s.GPUs = rapid.IntRange(-1, 2).Draw(rt, "gpus")
		})
		place := fleet.Placement{Selector: map[string]string{"in": "yes"}, PerHostMax: rapid.IntRange(0, 4).Draw(rt, "per host")}
		hosts := make([]fleet.Host, 3)
		facts := make([]agent.Facts, 3)
		for i := range hosts {
			hosts[i] = fleet.Host{
				ID: string(rune('a' + i)), MaxRunners: rapid.IntRange(0, 6).Draw(rt, "cap"), Cordoned: rapid.IntRange(0, 4).Draw(rt, "cordoned") == 0,
				Labels: map[string]string{"in": rapid.SampledFrom([]string{"yes", "yes", "no"}).Draw(rt, "in")},
			}
			facts[i] = agent.Facts{CPUs: rapid.IntRange(1, 6).Draw(rt, "cpus"), Memory: rapid.Int64Range(1, 8).Draw(rt, "total") << 30}
			for n := range rapid.IntRange(0, 4).Draw(rt, "devices") {
				facts[i].GPUs = append(facts[i].GPUs, agent.GPU{ID: fmt.Sprint("GPU-", i, n)})
			}
		}
		bubble(t, func(t *testing.T) {
			w := newWorld(t, fleet.Config{Hosts: hosts}, memory.Config{}, "a", "b", "c")
			for i, h := range hosts {
				w.nodes[h.ID].config.Facts = facts[i]
			}
			w.startAll()
			w.SetPlacements(map[string]fleet.Placement{"small": place})
			for left := w.room(asked); left > 0; left-- {
				w.launched(asked)
				require.NoError(t, w.Audit())
				if now := w.room(asked); asked.GPUs >= 0 {
					require.Equal(t, left-1, now)
				}
			}
			w.refused(asked)
			for _, v := range w.Explain("small") {
				require.NotEmpty(t, v.Reason)
			}
		})
	})
}
