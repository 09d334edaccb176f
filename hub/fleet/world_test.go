package fleet_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a hub with hosts a, b, c…, in a bubble: nothing waits, the clock is
// the bubble's.
type world struct {
	*hub
	t     *testing.T
	log   *log
	nodes map[string]*node
}

// node is one host: an engine that outlives the agents on it.
type node struct {
	world   *world
	id      string
	token   tokens.Token
	next    tokens.Token // valid too, once it is there
	engine  *memory.Engine
	removed bool
	stop    func()
	config  agent.Config
}

// log collects what is logged by hub and agents.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *log) logger(name string) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: name, Output: l, Level: hclog.Trace})
}

// newWorld makes a hub and a node for each id; no agent runs yet.
func newWorld(t *testing.T, config fleet.Config, engine memory.Config, ids ...string) *world {
	t.Helper()
	w := &world{t: t, log: &log{}, nodes: map[string]*node{}}
	for _, id := range ids {
		n := &node{world: w, id: id, token: tokens.New(tokens.Agent), engine: memory.New(engine)}
		n.config = agent.Config{ID: "agent-" + id, Engine: "engine-" + id, Facts: agent.Facts{CPUs: 20}, LookInterval: time.Second}
		w.nodes[id] = n
	}
	w.startHub(config)
	return w
}

func (w *world) startHub(config fleet.Config) {
	w.t.Helper()
	config.Logger = w.log.logger("hub")
	config.Authenticate = func(_ context.Context, d tokens.Digest) (string, error) {
		for _, n := range w.nodes {
			switch {
			case n.token.Digest().Equal(d) && n.removed:
				return n.id, fleet.ErrRemoved
			case n.token.Digest().Equal(d), n.next.Digest().Equal(d):
				return n.id, nil
			}
		}
		return "", fleet.ErrRefused
	}
	w.hub = startHub(w.t, config)
	synctest.Wait()
}

// start runs an agent on the node.
func (n *node) start() {
	n.world.t.Helper()
	config := n.config
	config.Hub, config.InsecureHTTP, config.Dial = "http://hub.test", true, n.world.dial
	if config.Token == nil {
		config.Token = func() tokens.Token { return n.token }
	}
	config.Backend, config.Logger = n.engine.Backend("owner"), n.world.log.logger("agent-"+n.id)
	config.RetryMin, config.RetryMax = cmp.Or(config.RetryMin, 100*time.Millisecond), cmp.Or(config.RetryMax, time.Second)
	a, err := agent.New(config)
	require.NoError(n.world.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() { _ = a.Run(ctx) })
	n.stop = sync.OnceFunc(func() {
		cancel()
		ran.Wait()
	})
	n.world.t.Cleanup(n.stop)
}

// startAll runs an agent on every node, and waits until all are ready.
func (w *world) startAll() {
	for _, n := range w.nodes {
		n.start()
	}
	w.after(3 * time.Second)
	for _, h := range w.Hosts() {
		require.True(w.t, h.Ready, "%+v", h)
	}
}

func (w *world) after(d time.Duration) {
	time.Sleep(d) // the bubble's clock
	synctest.Wait()
}

func (w *world) host(id string) fleet.HostState {
	w.t.Helper()
	for _, h := range w.Hosts() {
		if h.ID == id {
			return h
		}
	}
	w.t.Fatalf("no host %s", id)
	return fleet.HostState{}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func spec(id string) backend.Spec {
	return backend.Spec{ID: id, Image: "img", Labels: map[string]string{"template": "small"}, Env: map[string]string{"TOKEN": canary}}
}

const canary = "canary-9b1f-never-told"

// launch launches a new runner that must start.
func (w *world) launch() string {
	w.t.Helper()
	id := newID()
	require.NoError(w.t, w.Launch(w.t.Context(), spec(id)))
	return id
}

// launched launches such a runner, that must start, as a new one.
func (w *world) launched(s backend.Spec) string {
	w.t.Helper()
	s.ID = newID()
	require.NoError(w.t, w.Launch(w.t.Context(), s))
	return s.ID
}

// room is how many such runners there is room for.
func (w *world) room(s backend.Spec) int {
	w.t.Helper()
	s.ID, s.Env = "", nil
	room, err := w.Capacity(w.t.Context(), []backend.Spec{s})
	require.NoError(w.t, err)
	return room[0]
}

// refused is why no host may take such a runner.
func (w *world) refused(s backend.Spec) string {
	w.t.Helper()
	s.ID = newID()
	err := w.Launch(w.t.Context(), s)
	require.ErrorIs(w.t, err, backend.ErrExhausted)
	return err.Error()
}

// onEngine is the spec that the runner was truly launched with.
func (w *world) onEngine(id string) (host string, spec backend.Spec) {
	w.t.Helper()
	for host, n := range w.nodes {
		for _, r := range n.engine.Truth() {
			if r.Spec.ID == id {
				return host, r.Spec
			}
		}
	}
	w.t.Fatalf("runner %s is on no host", id)
	return "", backend.Spec{}
}

// restart ends the hub, as at a kill, and starts another with that configuration;
// the agents come back to it.
func (w *world) restart(config fleet.Config) {
	w.t.Helper()
	for _, n := range w.nodes {
		if n.stop != nil {
			n.stop()
		}
	}
	w.hub.stop()
	w.startHub(config)
}

// why is the first word or words of what keeps a template from a host.
func (w *world) why(template, host string) string {
	w.t.Helper()
	for _, v := range w.Explain(template) {
		if v.Host == host {
			require.Equal(w.t, v.Room > 0, v.Reason == "", "%+v", v)
			return v.Reason
		}
	}
	w.t.Fatalf("no verdict on host %s", host)
	return ""
}

// shown is how a list shows the runner; empty: not at all.
func (w *world) shown(id string) backend.Runner {
	w.t.Helper()
	for _, r := range w.list() {
		if r.ID == id {
			return r
		}
	}
	return backend.Runner{}
}

func (w *world) list() []backend.Runner {
	w.t.Helper()
	listing, err := w.List(w.t.Context())
	require.NoError(w.t, err)
	return listing.Runners
}

// spread counts the live runners of each node as they truly are.
func (w *world) spread() string {
	text := ""
	for _, h := range w.Hosts() {
		live := 0
		for _, r := range w.nodes[h.ID].engine.Truth() {
			if r.Runner.State.HoldsSlot() {
				live++
			}
		}
		text += fmt.Sprintf("%s%d ", h.ID, live)
	}
	return text
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
