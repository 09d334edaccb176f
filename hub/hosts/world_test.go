package hosts

import (
	"context"
	"flag"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/internal/crashtest"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) {
	crashtest.Child(saveUntilKilled)
	dir, err := os.MkdirTemp("", "hosts-test-*")
	if err != nil {
		panic(err)
	}
	s, err := store.Open(context.Background(), store.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	if err := s.Close(); err != nil {
		panic(err)
	}
	migrated = dir
	// Each check of a state machine has a data folder of its own, on a real disk.
	if err := flag.Set("rapid.checks", "4"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// migrated is a new data folder, made once and copied for each test.
var migrated string

const (
	public = "https://ci.example.com"
	agentA = "0192f0c1-6f3e-7a55-8a3e-0a4d2f7b9c11"
	agentB = "0192f0c1-6f3e-7a55-8a3e-0a4d2f7b9c22"
	newer  = "v1.3.0"
)

// world is a registry with its store and a fleet that tests steer.
type world struct {
	*Registry
	t     *testing.T
	dir   string
	store *store.Store
	fleet *fakeFleet
	queue *queue.Queue

	mu     sync.Mutex
	events []string
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(migrated)))
	return openWorld(t, dir, change...)
}

func openWorld(t *testing.T, dir string, change ...func(*Config)) *world {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	w := &world{t: t, dir: dir, store: s, fleet: newFleet()}
	config := Config{Store: s, PublicURL: public, Events: func(kind, object, _ string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, kind+" "+object)
	}}
	for _, c := range change {
		c(&config)
	}
	w.Registry, err = New(t.Context(), config)
	require.NoError(t, err)
	require.NoError(t, w.Bind(t.Context(), w.fleet))
	return w
}

// withQueue gives the registry a queue to revoke in.
func (w *world) withQueue() *world {
	w.t.Helper()
	q, err := queue.New(w.t.Context(), queue.Config{Store: w.store})
	require.NoError(w.t, err)
	w.queue, w.cfg.Queue = q, q
	return w
}

// reopen is a restart of the hub: the fleet forgets, the data folder stays.
func (w *world) reopen(change ...func(*Config)) *world {
	w.t.Helper()
	require.NoError(w.t, w.store.Close())
	return openWorld(w.t, w.dir, change...)
}

// run runs the registry's Run until the test ends, or stop is called.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Run(ctx) })
	stop = func() { cancel(); wg.Wait() }
	w.t.Cleanup(stop)
	return stop
}

func (w *world) add(name string, change ...func(*HostSpec)) (Host, Invitation) {
	w.t.Helper()
	spec := HostSpec{Name: name}
	for _, c := range change {
		c(&spec)
	}
	h, i, err := w.Add(w.t.Context(), spec)
	require.NoError(w.t, err)
	return h, i
}

// enrolled adds a host and enrols an agent of its own.
func (w *world) enrolled(name string) (Host, tokens.Token) {
	w.t.Helper()
	_, i := w.add(name)
	token := tokens.New(tokens.Agent)
	h, err := w.Enrol(w.t.Context(), i.Token, newID(), token.Digest())
	require.NoError(w.t, err)
	return h, token
}

// exec runs a statement on the database itself.
func (w *world) exec(query string) {
	w.t.Helper()
	require.NoError(w.t, w.write(w.t.Context(), func(t *tx) error {
		_, err := t.Exec(query)
		return err
	}))
}

func (w *world) host(nameOrID string) Host {
	w.t.Helper()
	h, err := w.Host(w.t.Context(), nameOrID)
	require.NoError(w.t, err)
	return h
}

func (w *world) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.events
}

// whose says what Authenticate answers.
func (w *world) whose(token tokens.Token) (string, error) {
	return w.Authenticate(w.t.Context(), token.Digest())
}

// fakeFleet does what a test says, and remembers what it was asked.
type fakeFleet struct {
	mu        sync.Mutex
	set       map[string]fleet.Host
	states    map[string]fleet.HostState
	listing   []backend.Runner
	forgotten []string
	rotate    func(host string) (tokens.Digest, error)
	update    func(host, version string) error
	again     []string // reconnected
	away      []string // sent away: host: why
	updates   []string // host=version
	setting   func(fleet.Host)
}

var _ Fleet = (*fakeFleet)(nil)

func newFleet() *fakeFleet {
	return &fakeFleet{set: map[string]fleet.Host{}, states: map[string]fleet.HostState{}}
}

func (f *fakeFleet) Hosts() (list []fleet.HostState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, h := range f.set {
		st := f.states[id]
		st.Host = h
		list = append(list, st)
	}
	return list
}

func (f *fakeFleet) Host(id string) (st fleet.HostState, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st = f.states[id]
	st.Host, known = f.set[id]
	return st, known
}

func (f *fakeFleet) SetHost(h fleet.Host) error {
	if f.setting != nil {
		f.setting(h)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set[h.ID] = h
	return nil
}

func (f *fakeFleet) Forget(id string, force bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.states[id]
	if _, known := f.set[id]; !known {
		return fleet.ErrUnknownHost
	}
	if !force && (st.Online || st.Held > 0) {
		return fleet.ErrBusyHost
	}
	f.forgotten = append(f.forgotten, id)
	delete(f.set, id)
	delete(f.states, id)
	return nil
}

func (f *fakeFleet) Runner(_ context.Context, id string) (r backend.Runner, hostID string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.listing {
		if r.ID == id {
			return r, "", true
		}
	}
	return backend.Runner{}, "", false
}

func (f *fakeFleet) RotateToken(_ context.Context, host string) (tokens.Digest, error) {
	if f.rotate == nil {
		return tokens.Digest{}, fleet.ErrOffline
	}
	return f.rotate(host)
}

func (f *fakeFleet) Reconnect(_ context.Context, host string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again = append(f.again, host)
	return nil
}

func (f *fakeFleet) SendAway(host string, why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = append(f.away, host+": "+why.Error())
}

func (f *fakeFleet) Update(_ context.Context, host, version string) error {
	f.mu.Lock()
	f.updates = append(f.updates, host+"="+version)
	do := f.update
	f.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(host, version)
}

// is sets how a host does.
func (f *fakeFleet) is(id string, st fleet.HostState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.states[id] = st
}

func (f *fakeFleet) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.updates...)
}

func (f *fakeFleet) told(id string) fleet.Host {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set[id]
}

// online is a host whose agent is there and shows held runners.
func online(agentVersion string, held int) fleet.HostState {
	return fleet.HostState{Online: true, Ready: true, Held: held, Version: agentVersion, Since: time.Now()}
}
