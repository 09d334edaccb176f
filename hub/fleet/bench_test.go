package fleet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// benchFleet is a fleet of hosts that are there, each with so many runners; no
// connection is behind them.
func benchFleet(tb testing.TB, hosts, each int) *Fleet {
	tb.Helper()
	f, err := New(Config{Authenticate: func(context.Context, tokens.Digest) (string, error) { return "", ErrRefused }})
	if err != nil {
		tb.Fatal(err)
	}
	f.open = true
	placements := map[string]Placement{}
	for i := range benchTemplates {
		placements[fmt.Sprint("template-", i)] = Placement{Selector: map[string]string{"pool": "x"}, PerHostMax: 100, MinDiskFree: 1}
	}
	f.SetPlacements(placements)
	for i := range hosts {
		h := f.host(fmt.Sprintf("host-%04d", i))
		h.Labels = map[string]string{"pool": "x"}
		s := &session{fleet: f, host: h, link: wire.NewLink(nil, 256), epoch: 1, pending: map[uint64]*call{}, chores: make(chan struct{}, 1)}
		h.session, h.place.Facts = s, wire.HostFacts{OS: "linux", Arch: "amd64", CPUs: 64, Memory: 256 << 30, Runtimes: []string{"runc"}, Disk: wire.Disk{Free: 1 << 30, Total: 2 << 30}}
		f.adopt(s, benchList(each))
	}
	return f
}

const benchTemplates = 10

func benchList(n int) *parts {
	list := &parts{runners: map[string]*wire.Runner{}, undecided: map[string]bool{}}
	for i := range n {
		id := uuid.Must(uuid.NewV7()).String()
		list.runners[id] = &wire.Runner{
			ID: id, State: backend.Running, Created: time.Unix(1e9, 0), Started: time.Unix(1e9, 0), Labels: map[string]string{
				"template": fmt.Sprint("template-", i%benchTemplates), "labels": "linux,x64", "reservation": id, "workspace": "w1",
				"registration-deadline": "5m0s", "max-lifetime": "6h0m0s", "control-plane": "queue", "host-share": `{"cpu":2,"memory":4294967296}`,
			},
		}
	}
	return list
}

func BenchmarkList20000(b *testing.B) {
	f := benchFleet(b, 1000, 20)
	b.ReportAllocs()
	for b.Loop() {
		listing, err := f.List(b.Context())
		if err != nil || len(listing.Runners) != 20000 {
			b.Fatal(len(listing.Runners), err)
		}
	}
}

func BenchmarkPage100of20000(b *testing.B) {
	f := benchFleet(b, 1000, 20)
	b.ReportAllocs()
	for b.Loop() {
		page, more, err := f.Page(b.Context(), RunnerFilter{})
		if err != nil || len(page) != 100 || !more {
			b.Fatal(len(page), more, err)
		}
	}
}

func BenchmarkPageOfHostOf20000(b *testing.B) {
	f := benchFleet(b, 1000, 20)
	b.ReportAllocs()
	for b.Loop() {
		page, more, err := f.Page(b.Context(), RunnerFilter{Host: "host-0500", State: backend.Running})
		if err != nil || len(page) != 20 || more {
			b.Fatal(len(page), more, err)
		}
	}
}

func BenchmarkRunnerOf20000(b *testing.B) {
	f := benchFleet(b, 1000, 20)
	id := f.listed()[10000].id
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := f.Runner(b.Context(), id); !ok {
			b.Fatal("it is not there")
		}
	}
}

func BenchmarkCountByTemplate20000(b *testing.B) {
	f := benchFleet(b, 1000, 20)
	b.ReportAllocs()
	for b.Loop() {
		counts, err := f.CountByTemplate(b.Context())
		if err != nil || counts["template-1"][backend.Running] != 2000 {
			b.Fatal(counts, err)
		}
	}
}

func BenchmarkListView20000(b *testing.B) {
	f := benchFleet(b, 1000, 20)
	v := f.View("queue")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.List(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// The time per host must not grow with the hosts.
func BenchmarkCapacity(b *testing.B) {
	for _, hosts := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(hosts, " hosts"), func(b *testing.B) {
			f := benchFleet(b, hosts, 20)
			specs := make([]backend.Spec, benchTemplates)
			for i := range specs {
				specs[i] = backend.Spec{Image: "img", CPU: 2, Memory: 4 << 30, OS: "linux", Arch: "amd64", Labels: map[string]string{"template": fmt.Sprint("template-", i)}}
			}
			b.ReportAllocs()
			for b.Loop() {
				room, err := f.Capacity(b.Context(), specs)
				if err != nil || room[0] != 12*hosts {
					b.Fatal(room, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*hosts), "ns/host")
		})
	}
}

func BenchmarkAdopt20(b *testing.B) {
	for _, hosts := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(hosts, " hosts"), func(b *testing.B) {
			f := benchFleet(b, hosts, 20)
			h := f.order[hosts/2]
			list := &parts{runners: map[string]*wire.Runner{}, undecided: map[string]bool{}}
			for id, r := range h.runners {
				list.runners[id] = r.seen
			}
			b.ReportAllocs()
			for b.Loop() {
				f.mu.Lock()
				f.adopt(h.session, list)
				h.count()
				f.unlock()
			}
		})
	}
}

// A launch as far as the fleet's own work goes: to choose, to note, to apply.
func BenchmarkChoose(b *testing.B) {
	for _, hosts := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(hosts, " hosts"), func(b *testing.B) {
			f := benchFleet(b, hosts, 20)
			spec, err := wire.FromSpec(backend.Spec{ID: "x", Image: "img", CPU: 2, Memory: 4 << 30, Labels: map[string]string{"template": "template-1"}})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				l := &launch{spec: spec, tried: map[string]bool{}}
				r, err := f.assign(l)
				if err != nil {
					b.Fatal(err)
				}
				f.mu.Lock()
				f.launched(r, l.ask, backend.ErrExhausted)
				r.host.place.Freed()
				f.unlock()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*hosts), "ns/host")
		})
	}
}

func BenchmarkHosts1000(b *testing.B) {
	f := benchFleet(b, 1000, 20)
	b.ReportAllocs()
	for b.Loop() {
		if len(f.Hosts()) != 1000 {
			b.Fatal("hosts are missing")
		}
	}
}
