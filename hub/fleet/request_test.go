package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// keyring is where an agent keeps its tokens.
type keyring struct {
	mu       sync.Mutex
	now      tokens.Token
	next     tokens.Token // zero: none
	refused  int
	accepted []tokens.Token
}

func (k *keyring) config(c *agent.Config) {
	c.Token = func() tokens.Token {
		k.mu.Lock()
		defer k.mu.Unlock()
		if !k.next.IsZero() && k.refused == 0 {
			return k.next
		}
		return k.now
	}
	c.Refused = func(token tokens.Token) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if token.Equal(k.next) {
			k.refused++
		}
	}
	c.Accepted = func(token tokens.Token) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.accepted = append(k.accepted, token)
		if token.Equal(k.next) {
			k.now, k.next = k.next, tokens.Token{}
		}
		k.refused = 0
	}
	c.Rotate = func(context.Context) (tokens.Digest, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.next.IsZero() {
			k.next = tokens.New(tokens.Agent)
		}
		return k.next.Digest(), nil
	}
}

func (k *keyring) last() tokens.Token {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.accepted[len(k.accepted)-1]
}

func TestRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b")
		n := w.nodes["a"]
		ring := &keyring{now: n.token}
		ring.config(&n.config)
		w.startAll()
		runs := w.launch()
		digest, err := w.RotateToken(t.Context(), "a")
		require.NoError(t, err)
		again, err := w.RotateToken(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, digest, again, "an answer that was lost is given again")
		require.Equal(t, digest, ring.next.Digest())

		// Not written down here: the new token is refused, and the old one tried at once.
		began := time.Now()
		require.NoError(t, w.Reconnect(t.Context(), "a"))
		require.Less(t, time.Since(began), 100*time.Millisecond)
		synctest.Wait()
		require.True(t, ring.last().Equal(n.token))
		w.after(20 * time.Second)

		n.next = ring.next
		began = time.Now()
		require.NoError(t, w.Reconnect(t.Context(), "a"))
		require.Less(t, time.Since(began), 100*time.Millisecond, "at once")
		synctest.Wait()
		require.True(t, ring.last().Equal(n.next))
		w.after(time.Second)
		require.True(t, w.host("a").Ready)
		require.Equal(t, backend.Running, w.shown(runs).State)

		_, err = w.RotateToken(t.Context(), "b")
		require.ErrorIs(t, err, errors.ErrUnsupported)
		w.nodes["b"].stop()
		w.after(time.Second)
		_, err = w.RotateToken(t.Context(), "b")
		require.ErrorIs(t, err, fleet.ErrOffline)
		require.ErrorIs(t, w.Reconnect(t.Context(), "b"), fleet.ErrOffline)
		require.ErrorIs(t, w.Reconnect(t.Context(), "x"), fleet.ErrUnknownHost)
		for _, secret := range []tokens.Token{n.token, n.next} {
			require.NotContains(t, w.log.String(), secret.Reveal())
		}
	})
}

func TestUpdate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b", "c")
		var asked atomic.Value
		w.nodes["a"].config.Update = func(_ context.Context, version string) error {
			asked.Store(version)
			time.Sleep(5 * time.Minute) // the bubble's: it takes long to fetch
			return nil
		}
		w.nodes["b"].config.Update = func(context.Context, string) error {
			return fmt.Errorf("rule update: %w", backend.ErrRefused)
		}
		w.startAll()
		began := time.Now()
		require.NoError(t, w.Update(t.Context(), "a", "v1.3.0"))
		require.Equal(t, 5*time.Minute, time.Since(began))
		require.Equal(t, "v1.3.0", asked.Load())
		err := w.Update(t.Context(), "b", "v1.3.0")
		require.ErrorIs(t, err, backend.ErrRefused)
		require.ErrorContains(t, err, "rule update")
		require.ErrorIs(t, w.Update(t.Context(), "c", "v1.3.0"), errors.ErrUnsupported)
		require.ErrorIs(t, w.Update(t.Context(), "x", "v1.3.0"), fleet.ErrUnknownHost)
		require.Error(t, w.Update(t.Context(), "a", ""))
	})
}

// An agent of another age hears of nothing but its update.
func TestAnAgentThatNeedsAnUpdateCanGetOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		p := w.peer("a", fmt.Sprintf(`{"type":"hello","hello":{"protocol":%d,"agent":"x","facts":{"cpus":4}}}`, wire.Protocol+2))
		require.True(t, p.welcomed().NeedsUpdate)
		synctest.Wait()
		_, err := w.RotateToken(t.Context(), "a")
		require.ErrorIs(t, err, fleet.ErrOffline)
		require.ErrorIs(t, w.Relist(t.Context(), "a"), fleet.ErrOffline)
		updated := make(chan error, 1)
		go func() { updated <- w.Update(t.Context(), "a", "v1.3.0") }()
		f := p.next()
		require.Equal(t, wire.Update, f.Type)
		require.Equal(t, "v1.3.0", f.Version)
		p.say(`{"type":"answer","epoch":%d,"id":%d,"error":{"code":"refused","message":"by its policy"}}`, p.epoch, f.ID)
		require.ErrorIs(t, <-updated, backend.ErrRefused)
		require.True(t, w.host("a").NeedsUpdate)
	})
}

// The agent of a host that was removed is told so, starts nothing, and comes back
// seldom.
func TestAHostThatWasRemovedIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		n := w.nodes["a"]
		var told atomic.Int64
		n.config.Removed = func(context.Context) { told.Add(1) }
		n.config.RetryMax = time.Minute
		w.startAll()
		id := w.launch()
		n.removed = true
		require.NoError(t, w.Forget("a", true))
		w.after(10 * time.Minute)
		require.EqualValues(t, 1, told.Load())
		require.Empty(t, w.Hosts())
		require.Empty(t, w.list())
		require.Equal(t, 1, alive(n.engine, id), "what runs is left alone")
		require.Less(t, strings.Count(w.log.String(), "turned away"), 30)

		conn, _, err := w.connect(n.token)
		require.NoError(t, err, "the connection is taken")
		defer conn.Close()
		require.NoError(t, conn.WriteMessage(1, []byte(hello)))
		_, text, err := conn.ReadMessage()
		require.NoError(t, err)
		require.Contains(t, string(text), "host-removed")
	})
}

// A host is the pair of its agent and its engine, through restarts of the hub.
func TestBoundPairsOutliveTheHub(t *testing.T) {
	greet := `{"type":"hello","hello":{"protocol":1,"agent":%q,"engine":%q,"facts":{"cpus":4}}}`
	bubble(t, func(t *testing.T) {
		config := fleet.Config{Hosts: []fleet.Host{{ID: "a", Agent: "agent-a", Engine: "engine-a"}, {ID: "b"}}}
		w := newWorld(t, config, memory.Config{}, "a", "b", "c")
		for name, p := range map[string]*peer{
			"the engine of one under another": w.peer("b", fmt.Sprintf(greet, "agent-b", "engine-a")),
			"another engine":                  w.peer("a", fmt.Sprintf(greet, "agent-a", "engine-x")),
			"another agent":                   w.peer("a", fmt.Sprintf(greet, "agent-x", "engine-a")),
		} {
			require.Equal(t, wire.Duplicated, p.farewell(), name)
		}
		require.Contains(t, w.host("b").Problem, "host-duplicated: with a")
		require.Contains(t, w.host("a").Problem, "host-duplicated", "shown on both")
		w.startAll()
		require.Equal(t, "agent-a", w.host("a").Agent)

		// Enrolled anew: whoever comes first is bound.
		w.nodes["a"].stop()
		w.after(time.Second)
		require.NoError(t, w.SetHost(fleet.Host{ID: "a"}))
		p := w.peer("a", fmt.Sprintf(greet, "agent-new", "engine-new"))
		p.welcomed()
	})
}

func TestSessionsAreTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var events []fleet.SessionEvent
		var runtimes atomic.Value
		runtimes.Store([]string{"runc"})
		w := newWorld(t, fleet.Config{Sessions: func(e fleet.SessionEvent) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		}}, memory.Config{}, "a")
		told := func() (kinds []fleet.SessionKind, last fleet.SessionEvent) {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			for _, e := range events {
				kinds = append(kinds, e.Kind)
				last = e
			}
			events = nil
			return kinds, last
		}
		n := w.nodes["a"]
		n.config.Version = "v7"
		n.config.Look = func(context.Context) (agent.Facts, error) {
			return agent.Facts{CPUs: 20, Runtimes: runtimes.Load().([]string)}, nil
		}
		n.config.Stats = func(context.Context) (agent.Stats, error) { return agent.Stats{CPUs: 2}, nil }
		n.start()
		w.after(3 * time.Second)
		kinds, e := told()
		require.Equal(t, []fleet.SessionKind{fleet.Connected}, kinds)
		require.Equal(t, []any{"a", "agent-a", "engine-a", "v7", uint64(1), []string{"runc"}}, []any{e.Host, e.Agent, e.Engine, e.Version, e.Epoch, e.Facts.Runtimes})
		require.Equal(t, 20, w.room(of("small")))
		named := of("small", func(s *backend.Spec) { s.Runtime = "sysbox-runc" })
		require.Zero(t, w.room(named))
		runtimes.Store([]string{"runc", "sysbox-runc"})
		w.after(65 * time.Second)
		kinds, _ = told()
		require.ElementsMatch(t, []fleet.SessionKind{fleet.StatsTold, fleet.FactsTold}, kinds)
		require.Equal(t, 20, w.room(named), "what an engine has learned meanwhile counts")
		w.drop(false)
		w.after(time.Second)
		kinds, e = told()
		require.Equal(t, []fleet.SessionKind{fleet.Disconnected, fleet.Connected}, kinds)
		require.EqualValues(t, 2, e.Epoch)
		n.stop()
		kinds, e = told()
		require.Equal(t, []fleet.SessionKind{fleet.Disconnected}, kinds)
		require.NotEmpty(t, e.Reason)
	})
}

// An agent that can't tell how busy it is is not asked again; nor is one that has
// yet to answer.
func TestStatsAreNotAskedInVain(t *testing.T) {
	for name, answer := range map[string]string{
		"unsupported": `,"error":{"code":"unsupported"}`, "fails": `,"error":{"code":"internal"}`, "nothing": ``, "silent": ``,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, fleet.Config{Heartbeat: 5 * time.Second}, memory.Config{}, "a")
				p := w.readyPeer("a")
				asked := 0
				for range 120 {
					w.after(5 * time.Second)
					for len(p.frames) > 0 {
						switch f := <-p.frames; f.Type {
						case wire.Ping:
							p.say(`{"type":"pong","epoch":%d}`, p.epoch)
						case wire.Stats:
							asked++
							if name != "silent" {
								p.say(`{"type":"answer","epoch":%d,"id":%d%s}`, p.epoch, f.ID, answer)
							}
						}
					}
				}
				if name == "unsupported" || name == "silent" {
					require.Equal(t, 1, asked)
				} else {
					require.InDelta(t, 10, asked, 1)
				}
			})
		})
	}
}

// Who is told of sessions may be slow: nobody waits for him, and he holds little.
func TestASlowListenerToSessions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gate := make(chan struct{})
		var count atomic.Int64
		w := newWorld(t, fleet.Config{Sessions: func(fleet.SessionEvent) {
			<-gate
			count.Add(1)
		}}, memory.Config{}, "a")
		p := w.readyPeer("a")
		for i := range 20000 {
			p.say(`{"type":"facts","epoch":%d,"facts":{"cpus":%d}}`, p.epoch, 1+i%2)
			if i%500 == 0 {
				w.after(time.Second)
				p.say(`{"type":"pong","epoch":%d}`, p.epoch)
			}
		}
		synctest.Wait()
		require.Equal(t, 2, w.host("a").Cap)
		close(gate)
		synctest.Wait()
		require.LessOrEqual(t, count.Load(), int64(3), "newer facts take the place of older ones")
	})
}
