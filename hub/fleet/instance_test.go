package fleet_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/internal/wire"
)

// helloOf is of the instance; empty: it tells none.
func helloOf(instance string) string {
	return fmt.Sprintf(`{"type":"hello","hello":{"protocol":1,"agent":"by-hand","instance":%q,"facts":{"cpus":10}}}`, instance)
}

// comes is an instance that connects: the answer to its hello.
func (w *world) comes(instance string) (*peer, wire.Frame) {
	w.t.Helper()
	w.after(time.Second)
	p := w.peer("a", helloOf(instance))
	f := p.next()
	w.after(time.Second)
	return p, f
}

// letIn is such a one that must be welcomed, and makes no problem.
func (w *world) letIn(instance string) *peer {
	w.t.Helper()
	p, f := w.comes(instance)
	require.Equal(w.t, wire.Welcome, f.Type, "%s: %+v", instance, f.Error)
	require.NotContains(w.t, w.host("a").Problem, "host-duplicated", instance)
	p.epoch = f.Welcome.Epoch
	return p
}

func (w *world) turnedAway(instance string) {
	w.t.Helper()
	_, f := w.comes(instance)
	require.Equal(w.t, wire.Bye, f.Type, instance)
	require.Equal(w.t, wire.Duplicated, f.Error.Code, instance)
	require.Regexp(w.t, "^host-duplicated: two agents live .*: stop the one", w.host("a").Problem)
}

// Two agents with one identity, one engine or none, took turns for ever: each took over
// what the other had, whose runners disappeared.
func TestAHostThatExistsTwiceIsOneAgentsAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		w := newWorld(t, fleet.Config{Sessions: func(e fleet.SessionEvent) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == fleet.Duplicated {
				told = append(told, e.Host+": "+e.Reason)
			}
		}}, memory.Config{}, "a")
		n, copied := w.nodes["a"], *w.nodes["a"]
		n.config.Engine, copied.config.Engine = "", ""
		copied.engine = memory.New(memory.Config{})
		n.start()
		w.after(5 * time.Second)
		copied.start()
		w.after(5 * time.Second)
		id := w.launch()
		epoch := w.host("a").Epoch
		for range 60 {
			w.after(10 * time.Second)
			require.Equal(t, backend.Running, w.shown(id).State)
			require.Equal(t, epoch, w.host("a").Epoch, "nobody takes over from the one that came last")
			require.Contains(t, w.host("a").Problem, "host-duplicated: two agents live")
		}
		require.Len(t, told, 1)
		require.Contains(t, w.log.String(), "host a is another agent's that is connected")

		n.stop()
		w.after(4 * time.Minute)
		require.Empty(t, w.host("a").Problem, "nobody was turned away for a while")
		require.True(t, w.host("a").Ready)

		n.start() // one that was started anew is let in, and the other one is turned away
		w.after(time.Minute)
		require.Greater(t, w.host("a").Epoch, epoch)
		epoch = w.host("a").Epoch
		w.after(time.Minute)
		require.Equal(t, epoch, w.host("a").Epoch)
		require.Contains(t, w.host("a").Problem, "host-duplicated")
		require.Len(t, told, 2)

		n.stop() // nobody else is there: in the end the other one has the host
		w.after(time.Minute)
		require.False(t, w.host("a").Online, "not at once: it may be back in a moment")
		w.after(2 * time.Minute)
		require.True(t, w.host("a").Ready)
		require.Empty(t, w.host("a").Problem)
		require.Equal(t, backend.Running, w.shown(id).State)
	})
}

// What is no twin: a start, many of them, an agent that comes back, whose connection
// the hub still has, a hello that was late, and agents that tell no instance.
func TestWhatIsNoTwin(t *testing.T) {
	for name, play := range map[string]func(w *world){
		"starts": func(w *world) {
			for i := range 20 {
				w.letIn(fmt.Sprint("start-", i))
			}
		},
		"reconnects": func(w *world) {
			for i := range 20 {
				p := w.letIn("one")
				if i%2 == 0 {
					p.conn.Close()
				}
			}
		},
		"a start while the connection before is half open": func(w *world) {
			for i := range 5 {
				p := w.letIn(fmt.Sprint("start-", i))
				p.deaf.Store(true)
				w.letIn(fmt.Sprint("start-", i)).deaf.Store(true)
			}
		},
		"a hub that was started anew": func(w *world) {
			w.letIn("one")
			w.letIn("two")
			w.restart(fleet.Config{})
			w.letIn("two")
			w.letIn("two")
		},
		"no instance": func(w *world) {
			for range 5 {
				w.letIn("")
				w.letIn("one")
				w.letIn("")
				w.letIn("")
			}
		},
		"an update that goes back": func(w *world) {
			w.letIn("old")
			w.letIn("new").conn.Close()
			w.letIn("old, started again")
			w.letIn("old, started again")
		},
		"another credential": func(w *world) {
			w.letIn("one")
			w.letIn("on another machine")
			w.SendAway("a", fleet.ErrReplaced)
			w.letIn("one")
			w.letIn("one")
		},
		"a hello of one that has ended comes late": func(w *world) {
			w.letIn("one").conn.Close()
			late := w.opens()
			w.letIn("two")
			says(late, "one")
			w.after(time.Second)
			w.letIn("two")
			w.letIn("two")
		},
		"the first hello of one that has ended comes late": func(w *world) {
			late := w.opens()
			w.letIn("two")
			says(late, "one")
			w.after(time.Second)
			w.letIn("two")
			w.letIn("two")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				play(newWorld(t, fleet.Config{}, memory.Config{}, "a"))
			})
		})
	}
}

// opens is a connection that owes its hello.
func (w *world) opens() *websocket.Conn {
	w.t.Helper()
	conn, _, err := w.connect(w.nodes["a"].token)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

func says(conn *websocket.Conn, instance string) {
	_ = conn.WriteMessage(websocket.TextMessage, []byte(helloOf(instance)))
	synctest.Wait()
}

func TestATwinIsTurnedAwayWhileTheOtherIsThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		w.letIn("one")
		p := w.letIn("two")
		w.turnedAway("one")
		w.turnedAway("one")
		require.Equal(t, p.epoch, w.host("a").Epoch)
		p.conn.Close()
		w.after(time.Minute)
		w.turnedAway("one")
		w.comes("two") // it is shown on, and its own flap takes nothing from it
		require.Contains(t, w.host("a").Problem, "host-duplicated")
		w.turnedAway("one")

		w.letIn("three") // started anew
		w.turnedAway("two")
		w.turnedAway("one")
		w.letIn("four")
		for i := range 16 { // so many are remembered
			w.letIn(fmt.Sprint("start-", i))
		}
		w.turnedAway("start-0")
		w.letIn("four")
	})
}
