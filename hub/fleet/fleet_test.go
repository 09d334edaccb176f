package fleet_test

import (
	"context"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
)

func TestRunnersAreSpreadWithinTheCaps(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{Hosts: []fleet.Host{{ID: "a", MaxRunners: 2}, {ID: "b", Name: "builder-b"}, {ID: "c"}}}, memory.Config{}, "a", "b", "c")
		room := func() int {
			free, err := w.Capacity(t.Context(), []backend.Spec{spec(""), spec("")})
			require.NoError(t, err)
			require.Equal(t, free[0], free[1])
			return free[0]
		}
		require.Zero(t, room())
		require.ErrorIs(t, w.Launch(t.Context(), spec(newID())), backend.ErrExhausted, "no host is there")
		w.startAll()
		require.Equal(t, 2+20+20, room())
		for range 6 {
			w.launch()
		}
		require.Equal(t, "a2 b2 c2 ", w.spread())
		for range 4 {
			w.launch()
		}
		require.Equal(t, "a2 b4 c4 ", w.spread())
		names := map[string]int{}
		for _, r := range w.list() {
			names[r.Host]++
		}
		require.Equal(t, map[string]int{"a": 2, "builder-b": 4, "c": 4}, names)

		require.NoError(t, w.Cordon("b", true))
		require.Equal(t, 16, room())
		for range 16 {
			w.launch()
		}
		require.Equal(t, "a2 b4 c20 ", w.spread())
		err := w.Launch(t.Context(), spec(newID()))
		require.ErrorIs(t, err, backend.ErrExhausted)
		require.ErrorContains(t, err, "1 cordoned, 2 full", "it says why")
		require.NoError(t, w.Cordon("b", false))
		w.launch()
		require.Equal(t, "a2 b5 c20 ", w.spread())
		require.ErrorIs(t, w.Cordon("x", true), fleet.ErrUnknownHost)
	})
}

func TestDisconnectedIsNotGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b")
		w.startAll()
		ids := []string{w.launch(), w.launch(), w.launch(), w.launch()}
		w.after(time.Second)
		w.nodes["a"].stop()
		w.after(time.Second)
		unknown, held := 0, w.host("a").Held
		require.Equal(t, 2, held)
		for _, r := range w.list() {
			require.Equal(t, r.Host == "a", r.State == backend.Unknown)
			if r.State == backend.Unknown {
				unknown++
				require.Equal(t, "small", r.Labels["template"])
			}
		}
		require.Equal(t, 2, unknown)
		require.Len(t, w.list(), len(ids))
		for range 3 {
			require.Equal(t, "b", w.shown(w.launch()).Host, "hosts that are away are passed over")
		}
		w.nodes["a"].start()
		w.after(5 * time.Second)
		for _, r := range w.list() {
			require.Equal(t, backend.Running, r.State, "adopted as it is")
		}
		require.Equal(t, "a2 b5 ", w.spread())
	})
}

func TestAHostThatIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		w.startAll()
		runs, exits := w.launch(), w.launch()
		require.True(t, w.nodes["a"].engine.Exit(exits, 3))
		w.after(2 * time.Second)
		w.nodes["a"].stop()
		w.after(10*time.Minute - time.Second)
		require.Equal(t, backend.Unknown, w.shown(runs).State)
		woken := make(chan struct{}, 1)
		watching, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			_ = w.Watch(watching, func() {
				select {
				case woken <- struct{}{}:
				default:
				}
			})
		}()
		<-woken
		w.after(time.Minute)
		require.Len(t, woken, 1, "those who watch are told")
		lost := w.shown(runs)
		require.Equal(t, backend.Failed, lost.State)
		require.Equal(t, fleet.HostLost, lost.Error)
		require.Nil(t, lost.ExitCode)
		require.Equal(t, 3, *w.shown(exits).ExitCode, "what ended before is told as it ended")
		require.Equal(t, 1, w.host("a").Held, "the host's own cap is not freed")
		require.True(t, w.host("a").Lost)

		// Whoever clears up what has ended does not end what lives.
		require.ErrorIs(t, w.Remove(t.Context(), runs), fleet.ErrLost)
		w.nodes["a"].start()
		w.after(5 * time.Second)
		require.Equal(t, backend.Running, w.shown(runs).State, "it counts again")
		require.Equal(t, 1, alive(w.nodes["a"].engine, runs))
	})
}

func TestARemovalForAHostThatIsAwayIsDoneOnReturn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := fleet.NewMemoryStore()
		w := newWorld(t, fleet.Config{Store: store}, memory.Config{}, "a")
		w.startAll()
		goes, stays := w.launch(), w.launch()
		w.after(time.Second)
		w.nodes["a"].stop()
		w.after(time.Second)
		require.ErrorIs(t, w.Remove(t.Context(), goes), fleet.ErrOffline)
		require.NotErrorIs(t, w.Launch(t.Context(), spec(goes)), backend.ErrExhausted, "its id is its host's")
		w.after(time.Second)
		records, err := store.Load(t.Context())
		require.NoError(t, err)
		require.Len(t, records, 2)
		for _, r := range records {
			require.Equal(t, r.Runner == goes, r.Doomed, "the intent outlives the hub")
		}
		w.nodes["a"].start()
		w.after(5 * time.Second)
		require.Zero(t, alive(w.nodes["a"].engine, goes))
		require.Equal(t, 1, alive(w.nodes["a"].engine, stays))
		require.Empty(t, w.shown(goes))
		require.NoError(t, w.Remove(t.Context(), goes))
	})
}

// A hub that was killed knows from its store what may run on hosts that are away.
func TestAHubThatRestartsKnowsWhatItCannotSee(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := fleet.NewMemoryStore()
		require.NoError(t, store.Save(t.Context(), []fleet.Record{
			{Runner: "runs", Host: "a", Labels: map[string]string{"template": "small"}},
			{Runner: "never-came", Host: "a"}, {Runner: "doomed", Host: "a", Doomed: true},
		}, nil))
		w := newWorld(t, fleet.Config{Store: store}, memory.Config{}, "a")
		engine := w.nodes["a"].engine
		for _, id := range []string{"runs", "doomed"} {
			require.NoError(t, engine.Backend("owner").Launch(t.Context(), spec(id)))
		}
		require.Len(t, w.list(), 3)
		for _, r := range w.list() {
			require.Equal(t, backend.Unknown, r.State)
		}
		require.Equal(t, "small", w.shown("runs").Labels["template"])
		w.startAll()
		w.after(time.Second)
		require.Len(t, w.list(), 1)
		require.Equal(t, backend.Running, w.shown("runs").State)
		require.Zero(t, alive(engine, "doomed"))
		records, err := store.Load(t.Context())
		require.NoError(t, err)
		require.Len(t, records, 1)
	})
}

// One host takes requests and never answers; the others go on as without it.
func TestAHostThatNeverAnswersHoldsUpNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var hang atomic.Bool
		fault := func(call memory.Call) memory.Fault {
			return memory.Fault{Hang: hang.Load() && call.Op == memory.OpLaunch}
		}
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b", "c")
		w.nodes["b"].engine = memory.New(memory.Config{Fault: fault})
		w.startAll()
		hang.Store(true)
		began := time.Now()
		stuck := make(chan error, 1)
		quick := 0
		for range 3 { // one of three goes to b
			go func() { stuck <- w.Launch(t.Context(), spec(newID())) }()
			synctest.Wait()
		}
		for range 2 {
			require.NoError(t, <-stuck)
			quick++
		}
		require.Equal(t, began, time.Now(), "the healthy ones took no time")
		w.after(11 * time.Second)
		for range 10 {
			w.launch()
		}
		require.Equal(t, "a6 b0 c6 ", w.spread(), "a host with a launch long unanswered is passed over")
		require.Len(t, w.list(), 12)
		require.Equal(t, began.Add(11*time.Second), time.Now())
		require.ErrorIs(t, <-stuck, context.DeadlineExceeded)
		hang.Store(false)
		w.after(time.Minute)
		require.Equal(t, 0, w.host("b").Held, "its look has shown that nothing came of it")
		for range 6 {
			w.launch()
		}
		require.Contains(t, w.spread(), "b2 ")
	})
}

func TestAFailingHostWaitsAloneAndPerKind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b")
		var tries atomic.Int64
		w.nodes["b"].engine = memory.New(memory.Config{Behaviour: func(s backend.Spec) memory.Program {
			if s.Image == "missing" {
				tries.Add(1)
				return memory.Program{Err: backend.ErrInvalid}
			}
			return memory.Program{}
		}})
		w.startAll()
		missing := func() backend.Spec {
			bad := spec(newID())
			bad.Image = "missing"
			return bad
		}
		for range 100 {
			bad := missing()
			require.NoError(t, w.Launch(t.Context(), bad), "nothing was started there: the other host takes it")
			require.NoError(t, w.Remove(t.Context(), bad.ID))
			w.after(time.Second)
		}
		require.Greater(t, tries.Load(), int64(3), "it is tried again")
		require.Less(t, tries.Load(), int64(15), "with a growing pause")
		require.NotEmpty(t, w.host("b").BackingOff)
		for range 4 {
			w.launch()
		}
		require.Equal(t, "a2 b2 ", w.spread(), "other kinds are not held up")

		w.after(10 * time.Minute)
		require.NoError(t, w.Cordon("a", true))
		require.Equal(t, 1, w.room(missing()), "one at a time, to see whether it is over")
		err := w.Launch(t.Context(), missing())
		require.ErrorIs(t, err, backend.ErrInvalid, "the host's own words")
		require.ErrorContains(t, err, "host b")
	})
}

// A host that is full on its own account, or has no engine, is followed by the next.
func TestADefiniteRefusalGoesToTheNextHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b")
		w.nodes["a"].engine = memory.New(memory.Config{Hosts: []memory.Host{{Room: 1}}})
		w.startAll()
		for range 5 {
			w.launch()
		}
		require.Equal(t, "a1 b4 ", w.spread())
		w.nodes["b"].engine.SetOnline("", false)
		err := w.Launch(t.Context(), spec(newID()))
		require.True(t, backend.IsDefinite(err), "%v", err)
		w.after(5 * time.Second)
		require.Contains(t, w.host("b").Problem, "blind")
		for _, r := range w.list() {
			require.Equal(t, r.Host == "b", r.State == backend.Unknown)
		}
		w.nodes["b"].engine.SetOnline("", true)
		w.after(5 * time.Second)
		require.Empty(t, w.host("b").Problem)
		w.launch()
		require.Equal(t, "a1 b5 ", w.spread())
	})
}

func TestPrepareOnTheHostsThatWouldBeChosen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		pulls := map[string]int{}
		w := newWorld(t, fleet.Config{Hosts: []fleet.Host{{ID: "d", Cordoned: true}}}, memory.Config{}, "a", "b", "c", "d")
		for id, takes := range map[string]time.Duration{"a": time.Second, "b": 1500 * time.Millisecond, "c": 20 * time.Minute, "d": time.Second} {
			w.nodes[id].engine = memory.New(memory.Config{Pull: func(string) (time.Duration, error) {
				mu.Lock()
				defer mu.Unlock()
				pulls[id]++
				return takes, nil
			}})
		}
		w.startAll()
		began := time.Now()
		require.NoError(t, w.Prepare(t.Context(), spec("")))
		require.Equal(t, 2*time.Second, time.Since(began), "as long again as the first took, not as long as the slowest")
		require.NoError(t, w.Prepare(t.Context(), spec("")))
		require.Equal(t, map[string]int{"a": 1, "b": 1, "c": 1}, pulls)
		for range 6 {
			w.launch()
		}
		require.Equal(t, "a3 b3 c0 d0 ", w.spread(), "who has the image comes first")
		w.after(21 * time.Minute)
		require.NoError(t, w.Prepare(t.Context(), spec("")))
		for range 3 {
			w.launch()
		}
		require.Equal(t, "a3 b3 c3 d0 ", w.spread(), "and who had to wait for it catches up")
		w.nodes["a"].stop()
		w.nodes["b"].stop()
		w.nodes["c"].stop()
		w.after(time.Second)
		require.ErrorIs(t, w.Prepare(t.Context(), spec("")), backend.ErrExhausted)
	})
}

func TestForget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		w.startAll()
		id := w.launch()
		require.ErrorIs(t, w.Forget("a", false), fleet.ErrBusyHost)
		w.nodes["a"].stop()
		w.after(time.Second)
		require.ErrorIs(t, w.Forget("a", false), fleet.ErrBusyHost)
		require.NoError(t, w.Forget("a", true))
		require.Empty(t, w.list())
		require.Empty(t, w.Hosts())
		require.NoError(t, w.Remove(t.Context(), id))
		_, err := w.Logs(t.Context(), id, 0)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorIs(t, w.Forget("a", true), fleet.ErrUnknownHost)
	})
}

func TestAStoreThatFailsLaunchesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &faultyStore{MemoryStore: fleet.NewMemoryStore()}
		w := newWorld(t, fleet.Config{Store: store}, memory.Config{}, "a")
		w.startAll()
		store.fails.Store(true)
		err := w.Launch(t.Context(), spec(newID()))
		require.ErrorIs(t, err, backend.ErrUnavailable)
		require.Equal(t, "a0 ", w.spread())
		store.fails.Store(false)
		w.launch()
		w.after(time.Minute)
		records, err := store.Load(t.Context())
		require.NoError(t, err)
		require.Len(t, records, 1)
		require.Empty(t, w.host("a").BackingOff, "it is not the host's fault")
	})
}

type faultyStore struct {
	*fleet.MemoryStore
	fails atomic.Bool
}

func (s *faultyStore) Save(ctx context.Context, put []fleet.Record, gone []string) error {
	if s.fails.Load() {
		return fs.ErrPermission
	}
	return s.MemoryStore.Save(ctx, put, gone)
}
