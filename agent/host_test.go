package agent_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// The facts of each connection are the newest, and what is different later is told
// once.
func TestFactsAreKeptUpToDate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		var looks atomic.Int64
		var fails atomic.Bool
		var runtimes atomic.Value
		runtimes.Store([]string{"runc"})
		h.start(memory.New(memory.Config{}), func(c *agent.Config) {
			c.Look = func(ctx context.Context) (agent.Facts, error) {
				n := looks.Add(1)
				if fails.Load() {
					<-ctx.Done()
					return agent.Facts{}, ctx.Err()
				}
				return agent.Facts{Runtimes: runtimes.Load().([]string), Disk: agent.Disk{Free: n, Total: 100}}, nil
			}
		})
		c, hello := h.accept()
		require.Equal(t, []string{"runc"}, hello.Hello.Facts.Runtimes)
		require.Equal(t, 4, hello.Hello.Facts.CPUs, "what it does not tell is as configured")
		c.epoch = 1
		c.say(wire.Frame{Type: wire.Welcome, Welcome: &wire.Terms{Protocol: 1, Epoch: 1, HeartbeatMS: time.Hour.Milliseconds()}})
		require.Equal(t, wire.Runners, c.next().Type)
		time.Sleep(10 * time.Minute)
		require.Empty(t, c.all(), "a disk that fills up is no news")
		require.Greater(t, looks.Load(), int64(9))
		runtimes.Store([]string{"runc", "runsc"})
		f := c.next()
		require.Equal(t, wire.Facts, f.Type)
		require.Equal(t, []string{"runc", "runsc"}, f.Facts.Runtimes)
		require.Greater(t, f.Facts.Disk.Free, int64(1))
		time.Sleep(10 * time.Minute)
		require.Empty(t, c.all(), "once")

		fails.Store(true)
		began := time.Now()
		c.conn.Close()
		_, hello = h.accept()
		require.Less(t, time.Since(began), 10*time.Second, "an engine that hangs does not keep it from its hub")
		require.Equal(t, []string{"runc", "runsc"}, hello.Hello.Facts.Runtimes, "as it was")
	})
}

// Whatever an engine tells, the hub is told what the protocol allows.
func TestFactsAreWithinBounds(t *testing.T) {
	for name, quoted := range map[string]string{"plain": "x", "quoted": "<"} {
		t.Run(name, func(t *testing.T) { factsWithinBounds(t, quoted) })
	}
}

func factsWithinBounds(t *testing.T, quoted string) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		odd := strings.Repeat("ö", 300)
		facts := agent.Facts{
			OS: odd, CPUs: 1 << 40, Memory: -1, EngineVersion: odd, MaxRunners: -1, Disk: agent.Disk{Free: -1, Total: -1}, Hints: map[string]string{odd: "x", "long": odd},
			Runtimes: []string{"", "a b", odd}, GPUs: []agent.GPU{{ID: ""}, {ID: "twice"}, {ID: "twice"}, {ID: odd}, {ID: "named", Name: odd}},
		}
		for i := range 200 {
			facts.Hints[fmt.Sprint("hint", i)] = tokens.New(tokens.Agent).Reveal() + strings.Repeat(quoted, 500)
			facts.Runtimes = append(facts.Runtimes, fmt.Sprint("runtime", i))
			facts.GPUs = append(facts.GPUs, agent.GPU{ID: fmt.Sprint("gpu", i)})
		}
		h.start(memory.New(memory.Config{}), func(c *agent.Config) {
			c.Facts = facts
			c.Stats = func(context.Context) (agent.Stats, error) {
				return agent.Stats{CPUs: math.NaN(), Load: math.Inf(1), Memory: -1, Disk: agent.Disk{Free: -1}}, nil
			}
		})
		c, hello := h.accept() // the hub by hand decodes, and checks
		require.Len(t, hello.Hello.Facts.Runtimes, wire.MaxRuntimes)
		require.Equal(t, "twice", hello.Hello.Facts.GPUs[0].ID)
		require.Equal(t, "named", hello.Hello.Facts.GPUs[1].ID)
		if quoted == "x" {
			require.Len(t, hello.Hello.Facts.Hints, wire.MaxHints)
		}
		require.NotContains(t, fmt.Sprint(hello.Hello.Facts.Hints), "sf_agt")
		text, err := wire.Encode(hello)
		require.NoError(t, err)
		require.LessOrEqual(t, len(text), wire.MaxHello)
		c.epoch = 1
		c.say(wire.Frame{Type: wire.Welcome, Welcome: &wire.Terms{Protocol: 1, Epoch: 1, HeartbeatMS: time.Hour.Milliseconds()}})
		c.next()
		c.say(wire.Frame{Type: wire.Stats, ID: 1})
		require.Equal(t, &wire.Usage{}, c.next().Stats)
	})
}

func TestRequestsToTheHostItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		digest := tokens.New(tokens.Agent).Digest()
		var fail atomic.Bool
		failing := func() error {
			if fail.Load() {
				return fmt.Errorf("%w: it is on fire %s", backend.ErrRefused, token.Reveal())
			}
			return nil
		}
		out, _ := h.start(memory.New(memory.Config{}), func(c *agent.Config) {
			c.Rotate = func(context.Context) (tokens.Digest, error) { return digest, failing() }
			c.Update = func(ctx context.Context, version string) error {
				if version == "slow" {
					<-ctx.Done()
					return ctx.Err()
				}
				return failing()
			}
			c.Stats = func(context.Context) (agent.Stats, error) {
				return agent.Stats{CPUs: 1.5, Disk: agent.Disk{Free: 1, Total: 2}}, failing()
			}
		})
		c, _ := h.welcome(1)
		ask := func(f wire.Frame) wire.Frame {
			f.ID = 7
			c.say(f)
			answer := c.next()
			require.Equal(t, []any{wire.Answer, uint64(7)}, []any{answer.Type, answer.ID})
			return answer
		}
		update := wire.Frame{Type: wire.Update, Version: "v2"}
		require.Equal(t, digest.String(), ask(wire.Frame{Type: wire.Rotate}).Digest)
		require.Equal(t, wire.Disk{Free: 1, Total: 2}, ask(wire.Frame{Type: wire.Stats}).Stats.Disk)
		require.Nil(t, ask(update).Error)
		fail.Store(true)
		for _, f := range []wire.Frame{{Type: wire.Rotate}, {Type: wire.Stats}, update} {
			answer := ask(f)
			require.Equal(t, wire.Refused, answer.Error.Code)
			require.Empty(t, answer.Digest)
			require.Nil(t, answer.Stats)
		}
		slow := wire.Frame{Type: wire.Update, Version: "slow", ID: 8, TimeoutMS: 60000}
		c.say(slow)
		synctest.Wait()
		require.Equal(t, wire.Unavailable, ask(update).Error.Code, "one at a time")
		require.Equal(t, wire.TimedOut, c.next().Error.Code)
		require.NotContains(t, out.String(), token.Reveal())
	})
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		h.start(memory.New(memory.Config{}))
		c, _ := h.welcome(1)
		for i, f := range []wire.Frame{{Type: wire.Rotate}, {Type: wire.Stats}, {Type: wire.Update, Version: "v2"}} {
			f.ID = uint64(i + 1)
			c.say(f)
			require.Equal(t, wire.Unsupported, c.next().Error.Code)
		}
	})
}

// A hub of another age can still have it updated.
func TestAnUpdateFromAHubOfAnotherAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		var asked atomic.Value
		h.start(memory.New(memory.Config{}), func(c *agent.Config) {
			c.Update = func(_ context.Context, version string) error { asked.Store(version); return nil }
			c.Rotate = func(context.Context) (tokens.Digest, error) { return tokens.Digest{}, errors.New("not asked") }
		})
		c, _ := h.accept()
		c.epoch = 1
		c.say(wire.Frame{Type: wire.Welcome, Welcome: &wire.Terms{Epoch: 1, HeartbeatMS: 60000, NeedsUpdate: true}})
		c.say(wire.Frame{Type: wire.Rotate, ID: 1})
		c.say(wire.Frame{Type: wire.Update, ID: 2, Version: "v9"})
		f := c.next()
		require.Equal(t, []any{wire.Answer, uint64(2)}, []any{f.Type, f.ID})
		require.Nil(t, f.Error)
		require.Equal(t, "v9", asked.Load())
	})
}

func TestWhichTokenIsTried(t *testing.T) {
	old, next := tokens.New(tokens.Agent), tokens.New(tokens.Agent)
	tries := func(h *hub) (got []string) {
		for len(h.requests) > 0 {
			switch (<-h.requests).Header.Get("Authorization") {
			case "Bearer " + old.Reveal():
				got = append(got, "old")
			case "Bearer " + next.Reveal():
				got = append(got, "next")
			}
		}
		return got
	}
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		h.refuse = 401
		var turn, refusals atomic.Int64
		h.start(memory.New(memory.Config{}), func(c *agent.Config) {
			c.Token = func() tokens.Token {
				if turn.Load()%2 == 0 {
					return next
				}
				return old
			}
			c.Refused = func(tokens.Token) { turn.Add(1); refusals.Add(1) }
			c.Accepted = func(tokens.Token) { t.Error("none was accepted") }
		})
		time.Sleep(time.Second)
		require.Equal(t, []string{"next", "old", "next"}, tries(h), "the other one at once; then they wait")
		time.Sleep(10 * time.Minute)
		require.Less(t, refusals.Load(), int64(70))
	})
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		var accepted atomic.Value
		out, _ := h.start(memory.New(memory.Config{}), func(c *agent.Config) {
			c.Token = func() tokens.Token { return next }
			c.Accepted = func(token tokens.Token) { accepted.Store(token.Prefix()) }
		})
		c, _ := h.welcome(1)
		require.Equal(t, next.Prefix(), accepted.Load())
		began := time.Now()
		c.say(wire.Frame{Type: wire.Bye, Error: &wire.Error{Code: wire.Rotated}})
		h.accept()
		require.Equal(t, began, time.Now(), "at once")
		require.NotContains(t, out.String(), next.Reveal())
	})
	bubble(t, func(t *testing.T) { // a hub can't have it spin
		h := newHub(t)
		h.start(memory.New(memory.Config{}))
		began := time.Now()
		for range 30 {
			c, _ := h.accept()
			c.say(wire.Frame{Type: wire.Bye, Error: &wire.Error{Code: wire.Rotated}})
		}
		require.Greater(t, time.Since(began), time.Minute)
	})
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		out, _ := h.start(memory.New(memory.Config{}), func(c *agent.Config) {
			c.Token = func() tokens.Token { return tokens.New(tokens.Admin) }
		})
		time.Sleep(time.Minute)
		require.Empty(t, h.requests, "another kind of token never leaves")
		require.Contains(t, out.String(), "an agent's token is needed")
	})
}

func TestARemovedHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHub(t)
		var told atomic.Int64
		engine := memory.New(memory.Config{})
		_, stop := h.start(engine, func(c *agent.Config) {
			c.Removed = func(ctx context.Context) { told.Add(1); <-ctx.Done() }
		})
		began := time.Now()
		for range 5 {
			c, _ := h.accept()
			c.say(wire.Frame{Type: wire.Bye, Error: &wire.Error{Code: wire.Removed}})
		}
		require.Greater(t, time.Since(began), 2*time.Minute-time.Second, "seldom")
		require.EqualValues(t, 1, told.Load())
		c, _ := h.welcome(9) // it was a mistake
		c.say(wire.Frame{Type: wire.Bye, Error: &wire.Error{Code: wire.Removed}})
		time.Sleep(time.Second)
		require.EqualValues(t, 2, told.Load())
		stop()
	})
}

// Whatever a hub sends, the agent comes back for the next, and no runner is
// started that was not asked for.
func FuzzSession(f *testing.F) {
	f.Add(`{"type":"launch","id":1,"spec":{"id":"x","gpu_ids":["g"],"credential":{"password":"p"}}}` + "\n" + `{"type":"remove","id":2,"runner":"x"}`)
	f.Add(`{"type":"rotate","id":1}` + "\n" + `{"type":"update","id":2,"version":"v2"}` + "\n" + `{"type":"stats","id":3}` + "\n" + `{"type":"cancel","id":2}`)
	f.Add(`{"type":"list","id":1}` + "\n" + `{"type":"logs","id":2,"runner":"x"}` + "\n" + `{"type":"prepare","id":3,"spec":{"image":"i"}}` + "\n" + `{"type":"bye","error":{"code":"rotated"}}`)
	f.Add(`{"type":"welcome","welcome":{"protocol":1,"epoch":9,"heartbeat_ms":1}}` + "\n" + `{"type":"facts","facts":{}}` + "\n" + `nonsense`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			t.Skip("longer than any frames that are worth trying")
		}
		bubble(t, func(t *testing.T) {
			h := newHub(t)
			engine := memory.New(memory.Config{})
			h.start(engine, func(c *agent.Config) {
				c.Rotate = func(context.Context) (tokens.Digest, error) { return tokens.Digest{}, nil }
				c.Update = func(context.Context, string) error { return nil }
				c.Stats = func(context.Context) (agent.Stats, error) { return agent.Stats{}, nil }
			})
			c, _ := h.welcome(1)
			for line := range strings.Lines(text) {
				_ = c.conn.SetWriteDeadline(time.Now().Add(time.Minute))
				_ = c.conn.WriteMessage(1, []byte(strings.TrimSpace(line)))
			}
			synctest.Wait()
			c.conn.Close()
			c, _ = h.welcome(2)
			c.say(launchFrame(99, "after"))
			for f := c.next(); f.Type != wire.Answer || f.ID != 99; f = c.next() {
			}
			require.LessOrEqual(t, len(engine.Truth()), 1+strings.Count(text, "launch"))
		})
	})
}
