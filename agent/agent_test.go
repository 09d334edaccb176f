package agent_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

func TestAnAgentSaysWhoItIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		engine := memory.New(memory.Config{})
		require.NoError(t, engine.Backend("owner").Launch(t.Context(), backend.Spec{ID: "1", Labels: map[string]string{"a": "b"}, Env: map[string]string{"S": "canary-77aa"}}))
		out, stop := h.start(engine)
		c, hello := h.accept()
		request := <-h.requests
		require.Equal(t, "/base"+wire.Path, request.URL.String(), "the token is never in the URL")
		require.Equal(t, "Bearer "+token.Reveal(), request.Header.Get("Authorization"))
		require.Equal(t, "agent-1", hello.Hello.Agent)
		require.Equal(t, "engine-1", hello.Hello.Engine)
		require.Equal(t, 4, hello.Hello.Facts.CPUs)
		require.NotEmpty(t, hello.Hello.Facts.OS)
		require.Equal(t, "memory", hello.Hello.Facts.Hints["engine"])
		c.epoch = 7
		c.say(wire.Frame{Type: wire.Welcome, Welcome: &wire.Terms{Protocol: 1, Epoch: 7, HeartbeatMS: 1000}})
		list := c.next()
		require.Equal(t, wire.Runners, list.Type)
		require.Equal(t, map[string]string{"a": "b"}, list.List.Runners[0].Labels)
		stop()
		frames := c.all()
		require.Equal(t, wire.Stopping, frames[len(frames)-1].Error.Code, "it says goodbye")
		require.Equal(t, []string{"1"}, live(engine), "runners are left alone")
		require.NotContains(t, out.String(), token.Reveal())
		require.NotContains(t, out.String(), "canary")
	})
}

func TestASilentHubIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		h.start(memory.New(memory.Config{}))
		c, _ := h.accept()
		c.epoch = 1
		c.say(wire.Frame{Type: wire.Welcome, Welcome: &wire.Terms{Protocol: 1, Epoch: 1, HeartbeatMS: 10000}})
		c.next()
		for range 5 { // heartbeats keep it
			time.Sleep(15 * time.Second)
			c.say(wire.Frame{Type: wire.Ping})
			require.Equal(t, wire.Pong, c.next().Type)
		}
		time.Sleep(19 * time.Second)
		synctest.Wait()
		require.False(t, c.ended())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.True(t, c.ended(), "20 s without a word")
		h.accept()
	})
}

func TestReconnectsBackOff(t *testing.T) {
	for _, passing := range []int{429, 502, 503, 504} { // of the hub itself, or of what is in front of it
		bubble(t, func(t *testing.T) {
			h := newHub(t)
			h.refuse = passing
			out, _ := h.start(memory.New(memory.Config{}))
			time.Sleep(10 * time.Second)
			require.Greater(t, len(h.requests), 2, "%d: it may be back in a moment", passing)
			require.NotContains(t, out.String(), "not a hub")
			require.Contains(t, out.String(), strconv.Itoa(passing))
		})
	}
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		h.swallow = true
		out, _ := h.start(memory.New(memory.Config{}))
		time.Sleep(20 * time.Minute)
		require.Equal(t, 1, strings.Count(out.String(), "no session"), "a dial that times out is no session that lasted")
	})
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		h.refuse = 404
		out, _ := h.start(memory.New(memory.Config{}))
		time.Sleep(10 * time.Minute)
		require.LessOrEqual(t, len(h.requests), 21, "what is no hub is asked seldom")
		require.Contains(t, out.String(), "not a hub: status 404")
	})
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		h.refuse = 503
		h.start(memory.New(memory.Config{}))
		time.Sleep(10 * time.Minute)
		tries := len(h.requests)
		require.Greater(t, tries, 8)
		require.Less(t, tries, 40, "the pause grows to a minute")
	})
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		h.refuse = 401
		out, _ := h.start(memory.New(memory.Config{}))
		time.Sleep(10 * time.Minute)
		require.LessOrEqual(t, len(h.requests), 21, "one that is refused comes back slowly")
		require.Equal(t, 1, strings.Count(out.String(), "token refused"), "a repeat is not logged again")
	})
}

// A launch goes on when its connection ends, the next session hears of it, and
// the same launch again starts nothing more.
func TestALaunchOutlivesItsConnection(t *testing.T) {
	for name, fails := range map[string]bool{"and works": false, "and fails": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHub(t)
				var started atomic.Int64
				engine := memory.New(memory.Config{
					Fault: func(call memory.Call) memory.Fault {
						f := memory.Fault{}
						if call.Op == memory.OpLaunch {
							f.Before = 20 * time.Second
							if fails {
								f.Err = backend.ErrInvalid
							}
						}
						return f
					},
					Observe: func(e memory.Event) {
						if e.Kind == memory.Launched {
							started.Add(1)
						}
					},
				})
				h.start(engine)
				c, _ := h.welcome(1)
				c.say(launchFrame(1, "x"))
				synctest.Wait()
				c.conn.Close()
				c, list := h.welcome(2)
				require.Equal(t, []string{"x"}, list.Undecided, "it may still come")
				require.Empty(t, list.Runners)
				if fails {
					f := c.next()
					require.Equal(t, wire.Changes, f.Type)
					require.Equal(t, []string{"x"}, f.Changes.Gone, "it never came")
					return
				}
				c.say(launchFrame(1, "x"))
				f := c.next()
				for f.Type != wire.Answer {
					require.Equal(t, "x", f.Changes.Runners[0].ID)
					f = c.next()
				}
				require.Equal(t, wire.Exists, f.Error.Code)
				require.EqualValues(t, 1, started.Load())
			})
		})
	}
}

// A removal cuts off the launch that is under way: nothing comes after it.
func TestARemovalEndsTheLaunch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		engine := memory.New(memory.Config{Fault: func(call memory.Call) memory.Fault {
			if call.Op == memory.OpLaunch {
				return memory.Fault{Before: 20 * time.Second}
			}
			return memory.Fault{}
		}})
		h.start(engine)
		c, _ := h.welcome(1)
		c.say(launchFrame(1, "x"))
		c.say(wire.Frame{Type: wire.Remove, ID: 2, Runner: "x"})
		answers := map[uint64]*wire.Error{}
		for range 2 { // in whatever order
			f := c.next()
			answers[f.ID] = f.Error
		}
		require.NotNil(t, answers[1])
		require.Equal(t, wire.Cancelled, answers[1].Code)
		require.Nil(t, answers[2])
		time.Sleep(time.Minute)
		require.Empty(t, engine.Truth())
	})
}

// What a look that began earlier shows of a runner is not told after its removal
// was answered, and what it lacks is not told as gone after its launch was.
func TestOldLooksAreNotBelieved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		var slow atomic.Bool
		engine := memory.New(memory.Config{Fault: func(call memory.Call) memory.Fault {
			if call.Op == memory.OpList && slow.Load() {
				return memory.Fault{After: 5 * time.Second} // sees, and takes long to say so
			}
			return memory.Fault{}
		}})
		h.start(engine)
		c, _ := h.welcome(1)
		c.say(launchFrame(1, "goes"))
		time.Sleep(time.Second)
		c.all()
		slow.Store(true)
		time.Sleep(10 * time.Second) // a look is under way
		c.all()
		time.Sleep(2 * time.Second)
		c.say(wire.Frame{Type: wire.Remove, ID: 2, Runner: "goes"})
		c.say(launchFrame(3, "comes"))
		time.Sleep(time.Minute)
		answered := map[uint64]bool{}
		for _, f := range c.all() {
			switch f.Type {
			case wire.Answer:
				require.Nil(t, f.Error)
				answered[f.ID] = true
			case wire.Changes:
				require.NotContains(t, f.Changes.Gone, "comes")
				for _, r := range f.Changes.Runners {
					require.False(t, r.ID == "goes" && answered[2], "told after its removal")
				}
			}
		}
		require.True(t, answered[2] && answered[3])
		require.Equal(t, []string{"comes"}, live(engine))
	})
}

func TestAnEngineThatGoesIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		engine := memory.New(memory.Config{})
		h.start(engine)
		c, _ := h.welcome(1)
		c.say(launchFrame(1, "x"))
		time.Sleep(time.Second)
		c.all()
		engine.SetOnline("", false)
		time.Sleep(time.Minute)
		frames := c.all()
		require.Len(t, frames, 1, "once")
		require.Equal(t, wire.Blind, frames[0].Type)
		require.Equal(t, wire.Unavailable, frames[0].Error.Code)
		engine.SetOnline("", true)
		f := c.next()
		require.Equal(t, wire.Runners, f.Type, "everything anew")
		require.Equal(t, "x", f.List.Runners[0].ID)
	})
}

// plain is a backend without any ability.
type plain struct{ backend.Backend }

func TestABackendWithoutAbilities(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		engine := memory.New(memory.Config{})
		h.start(engine, func(c *agent.Config) { c.Backend = plain{c.Backend} })
		c, _ := h.welcome(1)
		require.NoError(t, engine.Backend("owner").Launch(t.Context(), backend.Spec{ID: "x"}))
		began := time.Now()
		require.Equal(t, "x", c.next().Changes.Runners[0].ID)
		require.LessOrEqual(t, time.Since(began), 3*time.Second, "without hints it is looked at oftener")
		c.say(wire.Frame{Type: wire.Prepare, ID: 1, Spec: &wire.Spec{Image: "i"}})
		require.Equal(t, wire.Unsupported, c.next().Error.Code)
		c.say(wire.Frame{Type: wire.Logs, ID: 2, Runner: "x"})
		require.Equal(t, wire.Unsupported, c.next().Error.Code)
		c.say(wire.Frame{Type: wire.List, ID: 3})
		require.Nil(t, c.next().Error)
		require.Equal(t, wire.Runners, c.next().Type, "the full list, asked for")
	})
}

// Nothing runs for ever behind a cut; with a hub there it is the hub's business.
func TestMaximumLifetimesWhileCutOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		engine := memory.New(memory.Config{})
		h.start(engine)
		c, _ := h.welcome(1)
		c.say(launchFrame(1, "old")) // max-lifetime: an hour
		time.Sleep(30 * time.Minute)
		c.say(wire.Frame{Type: wire.Ping})
		c.say(launchFrame(2, "young"))
		forever := launchFrame(3, "forever")
		forever.Spec.Labels = nil
		c.say(forever)
		time.Sleep(45 * time.Minute)
		require.ElementsMatch(t, []string{"old", "young", "forever"}, live(engine), "there is a hub")
		c.say(wire.Frame{Type: wire.Ping})
		synctest.Wait()
		h.refuse = 503
		c.conn.Close()
		time.Sleep(50 * time.Second)
		require.ElementsMatch(t, []string{"old", "young", "forever"}, live(engine), "a short cut ends nothing")
		time.Sleep(time.Minute)
		require.ElementsMatch(t, []string{"young", "forever"}, live(engine))
		time.Sleep(time.Hour)
		require.ElementsMatch(t, []string{"forever"}, live(engine))
	})
}

func TestAHubOfAnotherAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		engine := memory.New(memory.Config{})
		out, _ := h.start(engine)
		c, _ := h.accept()
		c.say(wire.Frame{Type: wire.Welcome, Welcome: &wire.Terms{Epoch: 1, HeartbeatMS: 10000, NeedsUpdate: true, Hub: "v9"}})
		c.epoch = 1
		for range 10 {
			time.Sleep(10 * time.Second)
			c.say(wire.Frame{Type: wire.Ping})
			require.Equal(t, wire.Pong, c.next().Type, "it stays connected, and tells nothing")
		}
		c.say(launchFrame(1, "x"))
		time.Sleep(time.Second)
		require.Empty(t, c.all())
		require.Empty(t, live(engine))
		require.Contains(t, out.String(), "needs an update")
		c.conn.Close()

		c, _ = h.accept()
		c.say(wire.Frame{Type: wire.Welcome, Welcome: &wire.Terms{Protocol: wire.Protocol + 1, Epoch: 2, HeartbeatMS: 10000}})
		synctest.Wait()
		require.True(t, c.ended(), "a version that it did not offer")
	})
}

func TestWhatAHostileHubMayTry(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON": "x", "huge": `{"type":"ping","x":"` + strings.Repeat("x", wire.MaxFrame) + `"}`, "no spec": `{"type":"launch","id":1}`,
		"no id": `{"type":"remove","runner":"x"}`, "a long wait": `{"type":"list","id":1,"timeout_ms":99999999999}`, "no runner": `{"type":"logs","id":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHub(t)
				engine := memory.New(memory.Config{})
				h.start(engine)
				c, _ := h.welcome(1)
				_ = c.conn.WriteMessage(websocket.TextMessage, []byte(text)) // cut off in the middle, maybe
				h.welcome(2)                                                 // that session is over, the agent is not
			})
		})
	}
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		var hang atomic.Bool
		engine := memory.New(memory.Config{Fault: func(call memory.Call) memory.Fault {
			return memory.Fault{Hang: hang.Load() && call.Op != memory.OpList && call.Op != memory.OpWatch}
		}})
		h.start(engine)
		c, _ := h.welcome(1)
		hang.Store(true)
		for i := range uint64(20) {
			c.say(wire.Frame{Type: wire.Logs, ID: 1 + i, Runner: "x", TimeoutMS: 1000})
		}
		refused, timedOut := 0, 0
		for range 20 {
			switch f := c.next(); f.Error.Code {
			case wire.Unavailable:
				refused++
			case wire.TimedOut:
				timedOut++
			}
		}
		require.Equal(t, 12, refused, "no more than 8 at once")
		require.Equal(t, 8, timedOut)
		c.say(wire.Frame{Type: "frobnicate", ID: 50})
		require.Equal(t, wire.Unsupported, c.next().Error.Code, "a request of a later version is answered")
		prepare := wire.Frame{Type: wire.Prepare, ID: 51, Spec: &wire.Spec{Image: "i"}}
		c.say(prepare)
		c.say(wire.Frame{Type: wire.Cancel, ID: 51})
		c.say(wire.Frame{Type: wire.Cancel, ID: 99})
		require.Equal(t, wire.Cancelled, c.next().Error.Code)
	})
}

// A hub that stops reading: the session ends when its queue is full, or a write
// takes too long, and nothing waits for it meanwhile.
func TestAHubThatDoesNotRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		engine := memory.New(memory.Config{})
		h.start(engine)
		c, _ := h.welcome(1)
		c.deaf.Store(true)
		began := time.Now()
		for i := range uint64(1200) {
			c.say(wire.Frame{Type: wire.Remove, ID: i + 1, Runner: "x"})
		}
		c, _ = h.welcome(2)
		require.Less(t, time.Since(began), 2*time.Second)
		c.say(launchFrame(1, "y"))
		synctest.Wait()
		require.Equal(t, []string{"y"}, live(engine))
	})
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		engine := memory.New(memory.Config{})
		h.start(engine)
		c, _ := h.accept()
		c.epoch = 1
		c.say(wire.Frame{Type: wire.Welcome, Welcome: &wire.Terms{Protocol: 1, Epoch: 1, HeartbeatMS: 10000}})
		c.next()
		c.deaf.Store(true)
		began := time.Now()
		for range 4 {
			c.say(wire.Frame{Type: wire.Ping})
			time.Sleep(8 * time.Second)
		}
		h.welcome(2)
		require.Less(t, time.Since(began), 35*time.Second, "a write takes no longer than two beats")
	})
}

func TestConfig(t *testing.T) {
	good := agent.Config{Hub: "https://hub.example.com", Token: func() tokens.Token { return token }, ID: "a", Backend: memory.New(memory.Config{}).Backend("owner")}
	_, err := agent.New(good)
	require.NoError(t, err)
	for field, change := range map[string]func(*agent.Config){
		"Hub is no URL":         func(c *agent.Config) { c.Hub = "hub" },
		"must be http or https": func(c *agent.Config) { c.Hub = "ftp://hub" },
		"InsecureHTTP":          func(c *agent.Config) { c.Hub = "http://hub.example.com" },
		"no URL such as":        func(c *agent.Config) { c.Hub = "https://hub?token=x" },
		"Token":                 func(c *agent.Config) { c.Token = nil },
		"Backend":               func(c *agent.Config) { c.Backend = nil },
		"ID":                    func(c *agent.Config) { c.ID = "" },
		"LookInterval":          func(c *agent.Config) { c.LookInterval = -1 },
	} {
		bad := good
		change(&bad)
		_, err := agent.New(bad)
		require.ErrorIs(t, err, agent.ErrConfig, field)
		require.ErrorContains(t, err, field)
	}
	local := good
	local.Hub = "http://127.0.0.1:8570"
	a, err := agent.New(local)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var ran sync.WaitGroup
	ran.Go(func() { require.NoError(t, a.Run(ctx)) })
	ran.Wait()
	require.Panics(t, func() { _ = a.Run(ctx) }, "it runs once")
}

// By its instance a hub tells an agent that comes back from one that was started anew,
// and two that have one identity. The one that is turned away for that does not hammer.
func TestAnAgentTellsItsInstance(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		out, stop := h.start(memory.New(memory.Config{}))
		c, first := h.accept()
		require.NotEmpty(t, first.Hello.Instance)
		tries, began := 1, time.Now()
		for ; time.Since(began) < 10*time.Minute; tries++ {
			c.say(wire.Frame{Type: wire.Bye, Error: wire.FromError(wire.ErrDuplicated)})
			c.conn.Close()
			var again wire.Frame
			c, again = h.accept()
			require.Equal(t, first.Hello.Instance, again.Hello.Instance, "the same in all hellos")
		}
		require.LessOrEqual(t, tries, 21)
		require.Equal(t, 1, strings.Count(out.String(), "host duplicated"), "a repeat is not logged again")
		stop()

		h.start(memory.New(memory.Config{}))
		_, other := h.accept()
		require.NotEqual(t, first.Hello.Instance, other.Hello.Instance, "another one after a start")
	})
}
