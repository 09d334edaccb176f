package placement

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

var update = flag.Bool("update", false, "write the transcripts anew")

var now = time.Unix(1_700_000_000, 0)

const template = "small"

func newPlacer() *Placer {
	return New(Config{
		OvercommitCPU: 1, OvercommitMemory: 1, IsolatedRuntimes: []string{"sysbox-runc", "runsc"}, SlowAfter: 10 * time.Second,
		RetryMin: time.Second, RetryMax: 5 * time.Minute,
	})
}

// open is a host that may take whatever fits.
func open(p *Placer, id string) *Host {
	h := p.NewHost()
	h.ID, h.Name, h.Online, h.Listed, h.Ready = id, id, true, true, true
	h.Facts = wire.HostFacts{OS: "linux", Arch: "amd64", CPUs: 8, Memory: 16 << 30, Runtimes: []string{"runc"}}
	h.Load.Reset()
	return h
}

func ask(p *Placer, change ...func(*wire.Spec)) *Ask {
	spec := &wire.Spec{Image: "img"}
	for _, c := range change {
		c(spec)
	}
	return p.Ask(template, spec)
}

// A host with everything wrong, and one thing after the other made right: the worst is
// told first, and in words that say what to do about it.
func TestObstaclesInTheirOrder(t *testing.T) {
	p := newPlacer()
	p.SetRules(map[string]Rule{template: {Selector: map[string]string{"zone": "x"}, PerHostMax: 2, Isolated: true, MinDiskFree: 1 << 30}})
	a := ask(p, func(s *wire.Spec) { s.OS, s.Arch, s.CPU, s.Memory, s.GPUs = "linux", "arm64", 2, 4<<30, 1 })
	h := open(p, "a")
	h.Online, h.Listed, h.Ready, h.NeedsUpdate, h.Cordoned, h.MaxRunners, h.Blind = false, false, false, true, true, 1, "no such socket"
	h.Facts.GPUs = []wire.GPU{{ID: "GPU-1"}}
	h.Load.Wait(now.Add(-time.Minute))
	for range 2 {
		h.Load.Add(template, Share{CPU: 4, Memory: 8 << 30, GPUs: []string{"GPU-1"}})
	}
	require.Equal(t, 1, p.Failed(h, a, fmt.Errorf("no such image: %w", backend.ErrInvalid), now))
	require.Zero(t, p.Failed(h, a, backend.ErrExhausted, now))

	var transcript strings.Builder
	for _, step := range []struct {
		made string
		do   func()
	}{
		{"everything wrong", func() {}},
		{"targeted", func() { h.Labels = map[string]string{"zone": "x"} }},
		{"online", func() { h.Online = true }},
		{"updated", func() { h.NeedsUpdate = false }},
		{"listed", func() { h.Listed = true }},
		{"ready", func() { h.Ready = true }},
		{"uncordoned", func() { h.Cordoned = false }},
		{"answered", func() { h.Load.Unanswered, h.Load.Waiting = 0, time.Time{} }},
		{"of the platform", func() { h.Facts.Arch = "arm64" }},
		{"with a runtime that isolates", func() { h.Facts.Runtimes = append(h.Facts.Runtimes, "runsc") }},
		{"with a cap of 9", func() { h.MaxRunners = 9 }},
		{"the other template's", func() { h.Load.Templates[template] = 1 }},
		{"with CPUs", func() { h.Load.CPU = 0 }},
		{"with memory", func() { h.Load.Memory = 0 }},
		{"with a GPU", func() { clear(h.Load.GPUs) }},
		{"that tells of its disk", func() { h.Facts.Disk = wire.Disk{Free: 1 << 20, Total: 1 << 40} }},
		{"with disk", func() { h.Facts.Disk.Free = 1 << 31 }},
		{"freed", func() { h.Freed() }},
		{"launched", func() { h.Launched(a, "r") }},
	} {
		step.do()
		v := p.Explain(slices.Values([]*Host{h}), template, now)[0]
		require.Equal(t, v.Reason == "", v.Room > 0)
		fmt.Fprintf(&transcript, "%s\n\troom %d, reason %q, runtime %q, last failure %q\n", step.made, v.Room, v.Reason, v.Runtime, v.LastFailure)
	}
	golden(t, "testdata/obstacles.txt", transcript.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(name, []byte(got), 0o600))
	}
	want, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// Without rules everything may go anywhere; with them a template that has none goes
// nowhere, nor does a runner of no template.
func TestRules(t *testing.T) {
	p := newPlacer()
	h := open(p, "a")
	spec := &wire.Spec{Image: "img"}
	may := func(template string) bool {
		_, o := p.Judge(h, p.Ask(template, spec), now)
		require.True(t, o == "" || o == NotTargeted, o)
		return o == ""
	}
	require.True(t, may("x") && may(""))
	p.SetRules(map[string]Rule{"by id": {Hosts: []string{"b", "a"}}, "other": {Hosts: []string{"b"}}, "nobody's": {}, "label": {Selector: map[string]string{"k": "v"}}})
	require.True(t, may("by id"))
	for _, template := range []string{"other", "nobody's", "label", "unknown", ""} {
		require.False(t, may(template), template)
	}
	h.Labels = map[string]string{"k": "v"}
	require.True(t, may("label"))
	h.Labels["k"] = "w"
	require.False(t, may("label"))
	p.SetRules(map[string]Rule{})
	require.False(t, may("by id"))

	p.SetRules(map[string]Rule{"floor": {MinDiskFree: 10}, "none": {}})
	require.True(t, p.FloorBetween(9, 10) && p.FloorBetween(10, 9))
	require.False(t, p.FloorBetween(8, 9) || p.FloorBetween(10, 11))
}

// The room is what can be launched, whatever is asked for, and nobody is chosen that
// may not.
func TestTheRoomIsWhatCanBeLaunched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPlacer()
		p.SetRules(map[string]Rule{template: {Selector: map[string]string{"in": "yes"}, PerHostMax: rapid.IntRange(0, 4).Draw(t, "per host")}})
		spec := &wire.Spec{
			Image: "img", CPU: rapid.SampledFrom([]float64{0, 0.5, 1, 3}).Draw(t, "cpu"),
			Memory: rapid.Int64Range(0, 3).Draw(t, "memory") << 30, GPUs: rapid.IntRange(-1, 2).Draw(t, "gpus"),
		}
		a := p.Ask(template, spec)
		var hosts []*Host
		for i := range 3 {
			h := open(p, fmt.Sprint(i))
			h.MaxRunners, h.Cordoned = rapid.IntRange(0, 6).Draw(t, "cap"), rapid.IntRange(0, 4).Draw(t, "cordoned") == 0
			h.Labels = map[string]string{"in": rapid.SampledFrom([]string{"yes", "yes", "no"}).Draw(t, "in")}
			h.Facts.CPUs, h.Facts.Memory = rapid.IntRange(1, 6).Draw(t, "cpus"), rapid.Int64Range(1, 8).Draw(t, "total")<<30
			for n := range rapid.IntRange(0, 4).Draw(t, "devices") {
				h.Facts.GPUs = append(h.Facts.GPUs, wire.GPU{ID: fmt.Sprint("GPU-", i, n)})
			}
			hosts = append(hosts, h)
		}
		room := func() (sum int) {
			for _, h := range hosts {
				n, o := p.Judge(h, a, now)
				require.Equal(t, n > 0, o == "")
				require.False(t, n > 0 && h.Closed())
				sum += n
			}
			return sum
		}
		for left := room(); left > 0; left-- {
			h, err := p.Choose(slices.Values(hosts), a, nil, now)
			require.NoError(t, err)
			share := h.Share(spec)
			require.Len(t, share.GPUs, max(spec.GPUs, min(-spec.GPUs, 1)*len(h.Facts.GPUs)))
			for _, gpu := range share.GPUs {
				require.False(t, h.Load.GPUs[gpu], "GPU %s is another's", gpu)
			}
			h.Load.Add(template, share)
			if spec.GPUs >= 0 {
				require.Equal(t, left-1, room())
			}
		}
		_, err := p.Choose(slices.Values(hosts), a, nil, now)
		require.ErrorIs(t, err, backend.ErrExhausted)
		for _, v := range p.Explain(slices.Values(hosts), template, now) {
			require.NotEmpty(t, v.Reason)
		}
	})
}

// choose chooses so often, and counts who was.
func choose(t *testing.T, p *Placer, a *Ask, times int, tried map[string]bool, hosts ...*Host) string {
	t.Helper()
	counts := map[string]int{}
	for range times {
		h, err := p.Choose(slices.Values(hosts), a, tried, now)
		require.NoError(t, err)
		counts[h.ID]++
	}
	return fmt.Sprint(counts)
}

func TestTurns(t *testing.T) {
	p := newPlacer()
	host := func(id string) *Host {
		h := open(p, id)
		h.MaxRunners = 1000
		return h
	}
	x, y, z := host("x"), host("y"), host("z")
	a := ask(p)
	require.Equal(t, "map[x:20 y:20 z:20]", choose(t, p, a, 60, nil, x, y, z))
	z.Fetch(a)
	require.Equal(t, "map[x:5 y:5]", choose(t, p, a, 10, nil, x, y, z), "it is fetching the image")
	z.Fetched(a, true)
	require.Equal(t, "map[x:2 y:2 z:7]", choose(t, p, a, 11, nil, x, y, z), "and gets its turns when it has it")
	z.Fetch(a)
	require.Equal(t, "map[x:2 y:2 z:2]", choose(t, p, a, 6, nil, x, y, z), "to look again is quick")
	require.Equal(t, "map[x:5 z:5]", choose(t, p, a, 10, map[string]bool{"y": true}, x, y, z))
	require.Equal(t, "map[x:2 y:2 z:2]", choose(t, p, a, 6, nil, x, y, z), "who could not take any is owed none")
	require.Equal(t, "map[z:3]", choose(t, p, a, 3, map[string]bool{"x": true, "y": true}, x, y, z))

	x.Load.Wait(now.Add(-11 * time.Second))
	require.NotContains(t, choose(t, p, a, 6, nil, x, y, z), "x", "it is slow")
	require.Equal(t, "map[x:1]", choose(t, p, a, 1, map[string]bool{"y": true, "z": true}, x, y, z), "and the only one")
	x.Load.Reset()
	p.Answered(time.Second)
	y.Load.Wait(now.Add(-3 * time.Second))
	y.Load.Unanswered = mostBehind + 1
	require.NotContains(t, choose(t, p, a, 6, nil, x, y, z), "y", "it is behind with its answers, and takes longer than is usual")

	late := host("late")
	require.Equal(t, "map[late:5 x:5]", choose(t, p, a, 10, map[string]bool{"y": true, "z": true}, x, y, z, late), "a new one is not made up for")

	_, err := p.Choose(slices.Values([]*Host{}), a, nil, now)
	require.EqualError(t, err, "none of 0 hosts can take it: "+backend.ErrExhausted.Error())
	require.EqualError(t, Obstacles{Full: 1}.Err(), "none of 1 host can take it (1 full): "+backend.ErrExhausted.Error())
	x.Online, y.Cordoned, z.Online = false, true, false
	_, err = p.Choose(slices.Values([]*Host{x, y, z, late}), a, map[string]bool{"late": true}, now)
	require.EqualError(t, err, "none of 4 hosts can take it (2 offline, 1 cordoned, 1 tried): "+backend.ErrExhausted.Error())
}
