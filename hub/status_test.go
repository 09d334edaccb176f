package hub

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/tokens"
)

// site is a hub that runs, with one host: an agent over an engine in memory.
type site struct {
	*Hub
	t      *testing.T
	engine *memory.Engine
}

func newSite(t *testing.T, program func(backend.Spec) memory.Program, change ...func(*Config)) *site {
	t.Helper()
	c := Config{
		DataDir: storetest.Dir(t), Listen: "127.0.0.1:0", MinFree: 1, MinFreePercent: 0.0001, Reserve: 4096, PublicURL: "http://127.0.0.1:1",
	}
	for _, adjust := range change {
		adjust(&c)
	}
	h, err := Open(t.Context(), c)
	require.NoError(t, err)
	host, invitation, err := h.compute.hosts.Add(t.Context(), hosts.HostSpec{Name: "builder-01"})
	require.NoError(t, err)
	id, token := uuid.NewString(), tokens.New(tokens.Agent)
	_, err = h.compute.hosts.Enrol(t.Context(), invitation.Token, id, token.Digest())
	require.NoError(t, err)
	s := &site{Hub: h, t: t, engine: memory.New(memory.Config{Behaviour: program})}
	a, err := agent.New(agent.Config{
		Hub: h.URL(), Token: func() tokens.Token { return token }, Backend: s.engine.Backend(host.ID), ID: id, Engine: "engine", Version: "0.0.1",
		Facts: agent.Facts{OS: "linux", Arch: "amd64", CPUs: 4, Memory: 8 << 30, Runtimes: []string{"runc"}}, RetryMin: 20 * time.Millisecond, RetryMax: 100 * time.Millisecond,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() { _ = a.Run(ctx) })
	ran.Go(func() {
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		ran.Wait()
	})
	return s
}

func (s *site) create(name string, change func(*scalesets.Document)) scalesets.ScaleSet {
	s.t.Helper()
	d := scalesets.Document{Labels: []string{name}, Image: "img", CPU: 1, Memory: 1 << 30, Max: 3, Hosts: []string{"builder-01"}}
	if change != nil {
		change(&d)
	}
	set, err := s.compute.scaleSets.Create(s.t.Context(), name, d)
	require.NoError(s.t, err)
	return set
}

func (s *site) submit(label string) {
	s.t.Helper()
	_, err := s.queue.Submit(s.t.Context(), queue.JobSpec{Labels: []string{label}, Run: "true"})
	require.NoError(s.t, err)
}

// text of the newest event of that kind that is of the scale set; empty: there is none.
func (s *site) text(kind, set string) (text string) {
	page, err := s.events.Newest(s.t.Context(), events.Filter{Kinds: []string{kind}}, 100)
	require.NoError(s.t, err)
	for _, e := range page.Events {
		if strings.Contains(e.Text, "of scale set "+set) {
			text = e.Text
		}
	}
	return text
}

func (s *site) waits(what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); <-time.After(10 * time.Millisecond) {
		require.True(s.t, time.Now().Before(deadline), what)
	}
}

// What becomes of runners is told as events, from the hub's wiring alone: that they
// came, and how they ended.
func TestEventsOfRunnersAreStored(t *testing.T) {
	s := newSite(t, func(spec backend.Spec) memory.Program {
		if spec.Labels["template"] == "broken" {
			return memory.Program{Instant: true, ExitCode: 127, Error: "exec: no such file"}
		}
		return memory.Program{}
	})
	s.create("fine", nil)
	broken := s.create("broken", nil)
	s.submit("fine")
	s.submit("broken")
	s.waits("a runner that comes and goes at once has an end", func() bool { return s.text("runner-failed", "broken") != "" })
	require.Equal(t, "ended with exit code 127 (exec: no such file), never registered, of scale set broken on builder-01", s.text("runner-failed", "broken"))
	s.waits("its scale set says what to do", func() bool {
		return s.compute.Statuses([]scalesets.ScaleSet{broken})[0].Condition == scalesets.Failing
	})
	status := s.compute.Statuses([]scalesets.ScaleSet{broken})[0]
	require.Contains(t, status.Text, "on builder-01 ended without registering (exit code 127: exec: no such file): its command is not in the image")
	require.Positive(t, status.Ends.Reasons["exit-code"])
	crashes := testutil.CollectAndCount(levels{s.Hub}, "slipway_scale_set_crashes_in_a_row")
	require.Equal(t, 1, crashes, "whoever watches the metrics sees it")

	s.waits("it is followed", func() bool { return s.text("runner-started", "fine") != "" })
	var live []string
	for _, p := range s.engine.Truth() {
		if p.Spec.Labels["template"] == "fine" {
			live = append(live, p.Runner.ID)
		}
	}
	require.Len(t, live, 1)
	s.compute.Terminate(live, "stopped-by-operator")
	s.waits("its end has its reason", func() bool { return s.text("runner-removed", "fine") != "" })
	require.Regexp(t, "^ended by us: stopped-by-operator,.* of scale set fine on builder-01$", s.text("runner-removed", "fine"))
}

// A scale set that no host can serve says so at once, before any job waits.
func TestAScaleSetThatNoHostCanServe(t *testing.T) {
	s := newSite(t, nil)
	for name, c := range map[string]struct {
		change func(*scalesets.Document)
		text   string
	}{
		"nowhere":  {func(d *scalesets.Document) { d.Hosts = nil }, "it has no hosts: name some in hosts, or ask for labels in selector"},
		"nobody":   {func(d *scalesets.Document) { d.Hosts, d.Selector = nil, map[string]string{"pool": "x"} }, "no host has the labels of its selector (pool=x)"},
		"isolated": {func(d *scalesets.Document) { d.Runtime = "isolated" }, "builder-01 is without the runtime: it has runc, and one of sysbox-runc, kata-runtime, runsc is asked for"},
		"gpu":      {func(d *scalesets.Document) { d.GPUs = 1 }, "builder-01 is short of GPUs: 0 of 0 are free, and 1 is asked for"},
		"big":      {func(d *scalesets.Document) { d.Memory = 16 << 30 }, "builder-01 is short of memory: 0 MiB of 8192 MiB are given away, and 16384 MiB asked for"},
		"arm":      {func(d *scalesets.Document) { d.Arch = "arm64" }, "builder-01 is of another platform: linux/amd64, and arm64 is asked for"},
		"shipfox":  {func(d *scalesets.Document) { d.ControlPlane = scalesets.ControlPlaneShipfox }, "its control plane (shipfox) gives no jobs: this hub is no provisioner of one"},
	} {
		set, last := s.create(name, c.change), scalesets.Status{}
		s.waits(name, func() bool {
			last = s.compute.Statuses([]scalesets.ScaleSet{set})[0]
			return last.Condition == scalesets.Blocked && strings.Contains(last.Text, c.text)
		})
	}
	fine := s.create("fine", nil)
	s.waits("fine", func() bool { return s.compute.Statuses([]scalesets.ScaleSet{fine})[0].Condition == scalesets.Ready })
}
