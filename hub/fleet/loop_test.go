package fleet_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// plane is a control plane that grants what it is given, and remembers what it
// is told.
type plane struct {
	mu      sync.Mutex
	waiting []provisioner.Grant
	woken   chan struct{}
	ended   map[string]int // by runner: how often it was told as ended
	minted  int
}

var _ provisioner.ControlPlane = (*plane)(nil)

func (p *plane) Identify(context.Context) (provisioner.Identity, error) {
	return provisioner.Identity{ID: "owner"}, nil
}

func (p *plane) grant(count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, provisioner.Grant{Reservation: fmt.Sprint("r", len(p.waiting), p.minted), Labels: []string{"linux"}, Count: count, Lifetime: 10 * time.Minute})
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

func (p *plane) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	timeout := time.NewTimer(ad.Wait)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		d := provisioner.Demand{Grants: p.waiting}
		if ad.Free() > 0 {
			p.waiting = nil
		}
		p.mu.Unlock()
		if ad.Free() > 0 && len(d.Grants) > 0 {
			return d, nil
		}
		select {
		case <-p.woken:
		case <-timeout.C:
			return provisioner.Demand{}, nil
		case <-ctx.Done():
			return provisioner.Demand{}, ctx.Err()
		}
	}
}

func (p *plane) Mint(_ context.Context, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.minted += len(requests)
	out := make([]provisioner.Registration, len(requests))
	for i, r := range requests {
		out[i] = provisioner.Registration{Runner: r.Runner, Env: map[string]string{"TOKEN": canary}}
	}
	return out, nil
}

func (p *plane) Report(_ context.Context, events []provisioner.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range events {
		if e.State.Terminal() {
			p.ended[e.Runner]++
		}
	}
	return nil
}

// told are the runners that were told as ended, and how often.
func (p *plane) told() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.ended)
}

func (p *plane) mints() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.minted
}

// 60 jobs through the loop and three hosts; one agent dies in the middle, its
// runners go on, and it comes back. Nobody runs twice, nobody is left out.
func TestTheLoopOverThreeHosts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		live, most, started := map[string]int{}, map[string]int{}, map[string]int{}
		watched := func(host string) memory.Config {
			return memory.Config{Observe: func(e memory.Event) {
				mu.Lock()
				defer mu.Unlock()
				switch e.Kind {
				case memory.Launched:
					live[host]++
					started[e.Spec.ID]++
				case memory.Ended:
					live[host]--
				}
				most[host] = max(most[host], live[host])
			}}
		}
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b", "c")
		for id, n := range w.nodes {
			n.engine = memory.New(watched(id))
		}
		w.startAll()
		p := &plane{woken: make(chan struct{}, 1), ended: map[string]int{}}
		loop, err := provisioner.New(provisioner.Config{
			ControlPlane: p, Backend: w.Fleet, Logger: w.log.logger("loop"),
			Templates: []template.Template{{Key: "small", Labels: []string{"linux"}, Image: "img", MaxConcurrency: 100}},
		})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- loop.Run(ctx) }()

		p.grant(30)
		w.after(10 * time.Second)
		require.Equal(t, "a10 b10 c10 ", w.spread())
		w.nodes["c"].stop()
		w.after(2 * time.Second)
		p.grant(20)
		w.after(20 * time.Second)
		require.Equal(t, "a20 b20 c10 ", w.spread(), "runners of a dead agent live on, and nothing is started again for them")
		w.nodes["c"].start()
		w.after(20 * time.Second)
		p.grant(10)
		w.after(20 * time.Second)
		require.Equal(t, "a20 b20 c20 ", w.spread())
		require.Equal(t, map[string]int{"a": 20, "b": 20, "c": 20}, most, "no cap was ever exceeded")
		p.grant(1)
		w.after(20 * time.Second)
		require.Equal(t, 60, p.mints(), "nothing is minted that no host has room for")

		for id, n := range w.nodes {
			for _, r := range n.engine.Truth() {
				require.True(t, n.engine.Exit(r.Spec.ID, 0), id)
			}
		}
		w.after(time.Minute)
		require.Equal(t, 61, p.mints(), "room that became free is used")
		require.Len(t, p.told(), 60)
		for id, n := range p.told() {
			require.Equal(t, 1, n, "runner %s was told as ended", id)
		}
		require.Len(t, started, 61)
		for id, n := range started {
			require.Equal(t, 1, n, "runner %s", id)
		}
		require.Len(t, w.list(), 1)
		require.Equal(t, "ok", loop.Health().String())
		stop()
		require.NoError(t, <-ran)
		require.NotContains(t, w.log.String(), canary)
	})
}

// A host that stays away: the loop is told of its runners' end once, and of
// their life when it is back; it ends none of them by itself.
func TestTheLoopOverALostHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b")
		w.startAll()
		p := &plane{woken: make(chan struct{}, 1), ended: map[string]int{}}
		loop, err := provisioner.New(provisioner.Config{
			ControlPlane: p, Backend: w.Fleet,
			Templates: []template.Template{{Key: "small", Labels: []string{"linux"}, Image: "img", MaxConcurrency: 100, MaxLifetime: 24 * time.Hour}},
		})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- loop.Run(ctx) }()
		p.grant(8)
		w.after(10 * time.Second)
		require.Equal(t, "a4 b4 ", w.spread())
		w.nodes["b"].stop()
		w.after(9 * time.Minute)
		require.Empty(t, p.told())
		w.after(2 * time.Minute)
		require.Len(t, p.told(), 4)
		w.after(90 * time.Minute) // the loop has cleared up what it takes for ended, as far as it was let
		w.nodes["b"].start()
		w.after(5 * time.Minute)
		require.Equal(t, "a4 b4 ", w.spread(), "they live, and nobody has asked for their end")
		for _, r := range w.list() {
			require.EqualValues(t, "running", r.State)
		}
		for id, n := range p.told() {
			require.Equal(t, 1, n, "runner %s was told as lost", id)
		}
		stop()
		require.NoError(t, <-ran)
	})
}

// A host that takes launches and never answers: the loop fills the others in the
// time that it takes without it, and goes on when that one's are given up.
func TestTheLoopIsNotHeldUpByASilentHost(t *testing.T) {
	fill := func(t *testing.T, silent bool) (took time.Duration) {
		bubble(t, func(t *testing.T) {
			slow := memory.Config{Fault: func(c memory.Call) memory.Fault {
				if c.Op == memory.OpLaunch {
					return memory.Fault{Before: 200 * time.Millisecond}
				}
				return memory.Fault{}
			}}
			w := newWorld(t, fleet.Config{}, slow, "a", "b", "c", "d")
			for _, id := range []string{"a", "b", "c"} {
				w.nodes[id].start()
			}
			w.after(time.Second)
			var stuck atomic.Int64
			if silent {
				w.readyPeer("d").obey(func(f wire.Frame) bool {
					if f.Type == wire.Launch {
						stuck.Add(1)
					}
					return f.Type != wire.Launch
				})
			}
			p := &plane{woken: make(chan struct{}, 1), ended: map[string]int{}}
			loop, err := provisioner.New(provisioner.Config{
				ControlPlane: p, Backend: w.Fleet, Templates: []template.Template{{Key: "small", Labels: []string{"linux"}, Image: "img", MaxConcurrency: 100}},
			})
			require.NoError(t, err)
			ctx, stop := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- loop.Run(ctx) }()
			began := time.Now()
			p.grant(70)
			others := func() (n int) {
				for _, id := range []string{"a", "b", "c"} {
					n += len(w.nodes[id].engine.Truth())
				}
				return n
			}
			for others() < 48 {
				w.after(100 * time.Millisecond)
				require.Less(t, time.Since(began), time.Hour)
			}
			took = time.Since(began)
			if silent {
				require.Positive(t, stuck.Load(), "it was tried")
				require.Less(t, stuck.Load(), int64(10), "and did not get all that it has room for")
			}
			stop()
			require.NoError(t, <-ran)
		})
		return took
	}
	without, with := fill(t, false), fill(t, true)
	require.LessOrEqual(t, with, 2*without)
}

// Two loops over one fleet, each with its own control plane and templates: neither
// sees, ends or counts the other's runners, and each goes where it is placed.
func TestTwoLoopsOverOneFleet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b", "c")
		w.nodes["b"].config.Facts.Runtimes = []string{"runc", "sysbox-runc"}
		w.startAll()
		w.SetPlacements(map[string]fleet.Placement{
			"small": {Hosts: []string{"a", "b"}}, "boxed": {Hosts: []string{"a", "b", "c"}, Isolated: true, PerHostMax: 3}, "nowhere": {},
		})
		planes := map[string]*plane{}
		stops := []func(){}
		for key, templates := range map[string][]string{"queue": {"small", "nowhere"}, "shipfox": {"boxed"}} {
			p := &plane{woken: make(chan struct{}, 1), ended: map[string]int{}}
			planes[key] = p
			config := provisioner.Config{ControlPlane: p, Backend: w.View(key)}
			for i, name := range templates {
				config.Templates = append(config.Templates, template.Template{Key: name, Labels: []string{"linux"}, Image: "img", MaxConcurrency: 100, Cost: float64(2 - i)})
			}
			loop, err := provisioner.New(config)
			require.NoError(t, err)
			ctx, stop := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- loop.Run(ctx) }()
			stops = append(stops, func() {
				require.Equal(t, "ok", loop.Health().String())
				stop()
				require.NoError(t, <-ran)
			})
		}
		planes["queue"].grant(8)
		planes["shipfox"].grant(5)
		w.after(20 * time.Second)
		kinds := map[string]int{}
		for _, r := range w.list() {
			kinds[r.Labels[fleet.LabelPlane]+" "+r.Labels["template"]+" "+r.Host]++
		}
		require.Equal(t, 3, kinds["shipfox boxed b"], "where the runtime is, up to its cap")
		require.Equal(t, 8, kinds["queue small a"]+kinds["queue small b"])
		require.Len(t, kinds, 3)
		require.Equal(t, 3, planes["shipfox"].mints(), "nothing is minted that nobody may take")

		for _, r := range w.list() {
			if r.Labels[fleet.LabelPlane] == "shipfox" {
				require.True(t, w.nodes[r.Host].engine.Exit(r.ID, 0))
			}
		}
		w.after(time.Minute)
		require.Len(t, planes["shipfox"].told(), 3)
		require.Empty(t, planes["queue"].told())
		for _, stop := range stops {
			stop()
		}
	})
}

// greedy is a control plane that always has a job for whoever has room.
type greedy struct{ *plane }

func (g *greedy) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	if free := ad.Free(); free > 0 {
		return provisioner.Demand{Grants: []provisioner.Grant{{Reservation: newID(), Labels: []string{"linux"}, Count: free, Lifetime: 10 * time.Minute}}}, nil
	}
	<-time.After(ad.Wait)
	return provisioner.Demand{}, ctx.Err()
}

// Of a host that says it is full no room is told, but for one runner whenever its pause
// is over, and at once then: jobs are not promised to it and taken back all the time.
func TestAHostThatSaysItIsFullIsPromisedNoJobs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var asked atomic.Int64
		w := newWorld(t, fleet.Config{}, memory.Config{Behaviour: func(backend.Spec) memory.Program {
			asked.Add(1)
			return memory.Program{Err: backend.ErrExhausted}
		}}, "a")
		w.startAll()
		p := &greedy{&plane{woken: make(chan struct{}, 1), ended: map[string]int{}}}
		loop, err := provisioner.New(provisioner.Config{
			ControlPlane: p, Backend: w.Fleet, Logger: w.log.logger("loop"),
			Templates: []template.Template{{Key: "small", Labels: []string{"linux"}, Image: "img", MaxConcurrency: 6}},
		})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- loop.Run(ctx) }()
		w.after(500 * time.Millisecond)
		first, minted := asked.Load(), p.mints()
		require.LessOrEqual(t, first, int64(6))
		require.LessOrEqual(t, minted, 18)
		w.after(10 * time.Second)
		require.Equal(t, first+3, asked.Load(), "after 1, 3 and 7 seconds, and a moment")
		require.LessOrEqual(t, p.mints(), minted+6)
		stop()
		require.NoError(t, <-ran)
	})
}
