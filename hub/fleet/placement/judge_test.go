package placement

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/wire"
)

func TestRuntimes(t *testing.T) {
	for name, c := range map[string]struct {
		asked    string
		isolated bool
		has      []string
		want     string
		ok       bool
	}{
		"the engine's own":                {"", false, nil, "", true},
		"a named one":                     {"kata", false, []string{"runc", "kata"}, "kata", true},
		"a named one that is not there":   {"kata", false, []string{"runc"}, "kata", false},
		"the best that isolates":          {"", true, []string{"runsc", "runc", "sysbox-runc"}, "sysbox-runc", true},
		"the one that isolates":           {"", true, []string{"runsc"}, "runsc", true},
		"none isolates":                   {"", true, []string{"runc"}, "", false},
		"a named one that isolates":       {"runsc", true, []string{"sysbox-runc", "runsc"}, "runsc", true},
		"a named one that does not so":    {"runc", true, []string{"runc", "runsc"}, "runc", false},
		"a named one, and nothing is had": {"runsc", true, nil, "runsc", false},
	} {
		p := newPlacer()
		p.SetRules(map[string]Rule{template: {Hosts: []string{"a"}, Isolated: c.isolated}})
		h, a := open(p, "a"), ask(p, func(s *wire.Spec) { s.Runtime = c.asked })
		h.Facts.Runtimes = c.has
		got, ok := p.Runtime(h, a)
		require.Equal(t, []any{c.want, c.ok}, []any{got, ok}, name)
		require.Equal(t, c.ok, obstacle(p, h, a, now) == "", name)
	}
}

// What may be given away is what there is, or more or less of it; what a host does not
// tell bounds nothing, and what an agent invents overflows nothing.
func TestOvercommit(t *testing.T) {
	room := func(cpu, memory float64, change func(h *Host)) int {
		p := newPlacer()
		p.OvercommitCPU, p.OvercommitMemory = cpu, memory
		h := open(p, "a")
		h.MaxRunners = 1000
		change(h)
		return first(p.Judge(h, ask(p, func(s *wire.Spec) { s.CPU, s.Memory = 1, 1<<30 }), now))
	}
	as := func(*Host) {}
	require.Equal(t, 8, room(1, 1, as))
	require.Equal(t, 16, room(2, 1, as))
	require.Equal(t, 32, room(5, 2, as))
	require.Equal(t, 7, room(0.9, 1, as))
	require.Equal(t, 16, room(1, 1, func(h *Host) { h.Facts.CPUs = 0 }))
	require.Equal(t, 1000, room(1, 1, func(h *Host) { h.Facts.CPUs, h.Facts.Memory = 0, 0 }))
	require.Zero(t, room(1, 1, func(h *Host) {
		h.Load.Add("x", Share{Memory: math.MaxInt64})
		h.Load.Add("x", Share{Memory: math.MaxInt64})
	}))
	require.Equal(t, 8, room(1, 1e30, func(h *Host) { h.Facts.Memory = math.MaxInt64 }))
}

func TestCap(t *testing.T) {
	for _, c := range []struct{ set, cpus, policy, want int }{{0, 8, 0, 8}, {3, 8, 0, 3}, {3, 8, 2, 2}, {0, 8, 2, 2}, {0, 8, 20, 8}, {0, 0, 0, 0}} {
		h := Host{MaxRunners: c.set, Facts: wire.HostFacts{CPUs: c.cpus, MaxRunners: c.policy}}
		require.Equal(t, c.want, h.Cap(), "%+v", c)
	}
}

// Who was passed over for its image or its template is owed the turns; who could take
// nothing, or is slow, is not.
func TestWhoIsOwedTurns(t *testing.T) {
	for name, c := range map[string]struct {
		before, after func(p *Placer, y *Host, a *Ask)
		owed          bool
	}{
		"of another template": {
			func(p *Placer, _ *Host, _ *Ask) { p.SetRules(map[string]Rule{template: {Hosts: []string{"x"}}}) },
			func(p *Placer, _ *Host, _ *Ask) { p.SetRules(map[string]Rule{template: {Hosts: []string{"x", "y"}}}) }, true,
		},
		"fetching": {
			func(_ *Placer, y *Host, a *Ask) { y.Fetch(a) }, func(_ *Placer, y *Host, a *Ask) { y.Fetched(a, true) }, true,
		},
		"fetching in a new session what it had in the last": {
			func(_ *Placer, y *Host, a *Ask) { y.Fetched(a, true); y.Reconnected(); y.Fetch(a) }, func(_ *Placer, y *Host, a *Ask) { y.Fetched(a, true) }, true,
		},
		"away": {
			func(_ *Placer, y *Host, _ *Ask) { y.Online = false }, func(_ *Placer, y *Host, _ *Ask) { y.Online = true }, false,
		},
		"slow": {
			func(_ *Placer, y *Host, _ *Ask) { y.Load.Wait(now.Add(-11 * time.Second)) }, func(_ *Placer, y *Host, _ *Ask) { y.Load.Reset() }, false,
		},
	} {
		p := newPlacer()
		p.SetRules(map[string]Rule{template: {Hosts: []string{"x", "y"}}})
		x, y := open(p, "x"), open(p, "y")
		x.MaxRunners, y.MaxRunners = 100, 100
		choose(t, p, ask(p), 2, nil, x, y)
		c.before(p, y, ask(p))
		require.Equal(t, "map[x:10]", choose(t, p, ask(p), 10, nil, x, y), name)
		c.after(p, y, ask(p))
		if c.owed {
			require.Equal(t, "map[y:10]", choose(t, p, ask(p), 10, nil, x, y), name)
		} else {
			require.Equal(t, "map[x:5 y:5]", choose(t, p, ask(p), 10, nil, x, y), name)
		}
	}
}
