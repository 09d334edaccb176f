package fleet_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

func TestOnlyAnAgentsOwnTokenOpens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		refused := []string{
			"", "Bearer", "Bearer ", "Basic " + w.nodes["a"].token.Reveal(), w.nodes["a"].token.Reveal(), "Bearer " + tokens.New(tokens.Agent).Reveal(),
			"Bearer " + tokens.New(tokens.Admin).Reveal(), "Bearer " + tokens.New(tokens.Enrolment).Reveal(), "Bearer " + w.nodes["a"].token.Reveal() + "x",
		}
		dialer := websocket.Dialer{NetDialContext: w.dial, Subprotocols: []string{wire.Subprotocol}}
		for _, value := range refused {
			for _, url := range []string{"ws://hub.test" + wire.Path, "ws://hub.test" + wire.Path + "?token=" + w.nodes["a"].token.Reveal()} {
				_, answer, err := dialer.DialContext(t.Context(), url, http.Header{"Authorization": {value}})
				require.Error(t, err)
				require.Equal(t, http.StatusUnauthorized, answer.StatusCode, "%.20q", value)
			}
		}
		plain := websocket.Dialer{NetDialContext: w.dial}
		_, answer, err := plain.DialContext(t.Context(), "ws://hub.test"+wire.Path, http.Header{"Authorization": {"Bearer " + w.nodes["a"].token.Reveal()}})
		require.Error(t, err)
		require.Equal(t, http.StatusBadRequest, answer.StatusCode, "another subprotocol")
		conn, _, err := w.connect(w.nodes["a"].token)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	})
}

func TestVersions(t *testing.T) {
	greet := `{"type":"hello","hello":{"protocol":%d,"agent":"x","version":"v9","facts":{"cpus":4}}}`
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		p := w.peer("a", fmt.Sprintf(greet, wire.Protocol+1))
		terms := p.welcomed()
		require.Equal(t, wire.Protocol, terms.Protocol, "one apart: the older one is spoken")
		require.False(t, terms.NeedsUpdate)
		p.conn.Close()

		p = w.peer("a", fmt.Sprintf(greet, wire.Protocol+2))
		terms = p.welcomed()
		require.True(t, terms.NeedsUpdate)
		p.say(`{"type":"runners","epoch":%d,"runners":{"runners":[{"id":"x","state":"running"}],"last":true}}`, p.epoch)
		for range 10 { // it stays, by heartbeats
			f := <-p.frames
			require.Equal(t, wire.Ping, f.Type)
			p.say(`{"type":"pong","epoch":%d}`, p.epoch)
		}
		h := w.host("a")
		require.True(t, h.Online)
		require.True(t, h.NeedsUpdate)
		require.False(t, h.Ready)
		require.Equal(t, "needs-update: agent v9", h.Problem)
		err := w.Launch(t.Context(), spec(newID()))
		require.ErrorIs(t, err, backend.ErrExhausted)
		require.ErrorContains(t, err, "1 needs-update")
	})
}

func TestTheNewestConnectionWins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		first := w.readyPeer("a")
		launched := make(chan error, 1)
		id := newID()
		go func() { launched <- w.Launch(t.Context(), spec(id)) }()
		asked := first.next()
		require.Equal(t, wire.Launch, asked.Type)

		second := w.peer("a", hello)
		require.Greater(t, second.welcomed().Epoch, first.epoch)
		require.Equal(t, wire.Superseded, first.farewell())
		err := <-launched
		require.ErrorIs(t, err, fleet.ErrOffline)
		require.False(t, backend.IsDefinite(err), "it had left")
		require.Equal(t, 1, w.host("a").Held, "uncertain, so it takes up room")
		require.Empty(t, w.list())

		// Frames of the old epoch are not believed, on whatever connection.
		second.say(`{"type":"runners","epoch":%d,"runners":{"runners":[{"id":"ghost","state":"running"}],"last":true}}`, first.epoch)
		second.say(`{"type":"answer","epoch":%d,"id":1}`, first.epoch)
		synctest.Wait()
		require.False(t, w.host("a").Ready)
		require.Empty(t, w.list())
		again := w.Launch(t.Context(), spec(id))
		require.ErrorIs(t, again, fleet.ErrOffline, "launches wait for the full list")
		require.False(t, backend.IsDefinite(again))

		// Still open, then there: one record all along.
		second.say(`{"type":"runners","epoch":%d,"runners":{"runners":[],"undecided":[%q],"last":true}}`, second.epoch, id)
		synctest.Wait()
		require.True(t, w.host("a").Ready)
		require.Equal(t, 1, w.host("a").Held)
		require.Empty(t, w.list())
		second.say(`{"type":"changes","epoch":%d,"changes":{"runners":[{"id":%q,"state":"running"}]}}`, second.epoch, id)
		synctest.Wait()
		require.Equal(t, backend.Running, w.shown(id).State)
		require.Equal(t, 1, w.host("a").Held)
	})
}

// The new session's list decides though the old one's connection still hangs.
func TestATakeoverWaitsForNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		p := w.readyPeer("a")
		id, launched := newID(), make(chan error, 1)
		p.deaf.Store(true) // takes one more frame, then reads nothing
		go func() { launched <- w.Launch(t.Context(), spec(id)) }()
		synctest.Wait()
		began := time.Now()
		w.readyPeer("a")
		require.ErrorIs(t, <-launched, backend.ErrUnavailable, "the list says that nothing came of it")
		require.Equal(t, began, time.Now())
		require.Zero(t, w.host("a").Held)
		w.after(time.Minute)
		require.Zero(t, w.host("a").Held)
	})
}

// A launch whose connection ends before the answer is what the next full list says.
func TestALaunchIsDecidedByTheNextList(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		launch := func() (id string, launched chan error) {
			p := w.readyPeer("a")
			id, launched = newID(), make(chan error, 1)
			go func() { launched <- w.Launch(t.Context(), spec(id)) }()
			p.next()
			p.conn.Close()
			synctest.Wait()
			return id, launched
		}
		id, launched := launch()
		p := w.peer("a", hello)
		p.welcomed()
		p.say(`{"type":"runners","epoch":%d,"runners":{"runners":[{"id":%q,"state":"starting"}],"last":true}}`, p.epoch, id)
		require.NoError(t, <-launched, "it is there")

		_, launched = launch()
		w.after(time.Second)
		w.readyPeer("a")
		require.ErrorIs(t, <-launched, backend.ErrUnavailable, "it is not")

		began := time.Now()
		_, launched = launch()
		require.False(t, backend.IsDefinite(<-launched), "nobody says")
		require.Equal(t, 5*time.Second, time.Since(began), "and nobody waits for long")
	})
}

// What a full list does not show after a launch without an answer never was.
func TestAFullListDecides(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b")
		p := w.readyPeer("a")
		launched := make(chan error, 1)
		id := newID()
		go func() { launched <- w.Launch(t.Context(), spec(id)) }()
		p.next()
		p.conn.Close()
		require.ErrorIs(t, <-launched, fleet.ErrOffline)
		w.nodes["b"].start()
		w.after(time.Second)
		require.ErrorIs(t, w.Launch(t.Context(), spec(id)), fleet.ErrOffline, "no other host gets it meanwhile")
		w.readyPeer("a")
		require.Zero(t, w.host("a").Held)
		require.NotContains(t, w.spread(), "1")
		w.after(15 * time.Minute)
		require.Empty(t, w.list())
		w.launch()
		require.Equal(t, "a0 b1 ", w.spread())
	})
}

// What breaks the protocol is told so as a first frame, too: the agent is to come
// back seldom.
func TestHostileHellos(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON": "hello?", "no protocol": `{"type":"hello","hello":{"agent":"agent-a"}}`, "no hello": `{"type":"runners","runners":{"last":true}}`,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
				p := w.peer("a", text)
				require.Equal(t, wire.Violation, p.farewell())
			})
		})
	}
}

// What an agent by hand may try, and how it ends.
func TestHostileFrames(t *testing.T) {
	long := strings.Repeat("x", wire.MaxFrame)
	many := `{"type":"runners","epoch":1,"runners":{"runners":[` + strings.Repeat(`{"id":"r","state":"running"},`, wire.MaxList) + `{"id":"r","state":"running"}]}}`
	fatal := map[string]string{
		"not JSON": "hello?", "no type": `{}`, "an array": `[]`, "two values": `{"type":"pong"}{"type":"pong"}`, "deep": strings.Repeat("[", 100000),
		"huge": `{"type":"pong","x":"` + long + `"}`, "too many": many, "no state": `{"type":"changes","epoch":1,"changes":{"runners":[{"id":"a"}]}}`,
		"no list": `{"type":"runners","epoch":1}`, "an unknown state": `{"type":"changes","epoch":1,"changes":{"runners":[{"id":"a","state":"flying"}]}}`,
		"a long id":     `{"type":"changes","epoch":1,"changes":{"gone":["` + strings.Repeat("i", wire.MaxID+1) + `"]}}`,
		"fat labels":    `{"type":"changes","epoch":1,"changes":{"runners":[{"id":"a","state":"running","labels":{"l":"` + long[:wire.MaxRunner] + `"}}]}}`,
		"an empty id":   `{"type":"changes","epoch":1,"changes":{"gone":[""]}}`,
		"no UTF-8":      "{\"type\":\"pong\",\"x\":\"\xff\"}",
		"a null answer": `{"type":"answer","epoch":1,"id":0}`,
	}
	for name, text := range fatal {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b")
				w.nodes["b"].start()
				p := w.readyPeer("a")
				p.say("%s", text)
				want := wire.Violation
				if name == "huge" { // the WebSocket's own limit, with its own close code
					want = ""
				}
				require.Equal(t, want, p.farewell())
				synctest.Wait()
				require.False(t, w.host("a").Online)
				w.after(3 * time.Second)
				require.Equal(t, "b", w.shown(w.launch()).Host, "the others are served")
				require.Len(t, w.list(), 1)
				require.Less(t, len(w.log.String()), 1<<16, "what it sent is not logged")
			})
		})
	}
}

func TestHarmlessFrames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		p := w.readyPeer("a")
		for _, text := range []string{
			`{"type":"answer","epoch":1,"id":99}`, `{"type":"chunk","epoch":1,"id":99,"data":"eHh4"}`, `{"type":"later","epoch":1,"id":7,"what":{"is":"this"}}`,
			`{"type":"launch","epoch":1,"id":1,"spec":{"id":"x"}}`, `{"type":"hello","hello":{"protocol":1,"agent":"again","facts":{}}}`, `{"type":"ping","epoch":1}`,
			`{"type":"changes","epoch":7,"changes":{"runners":[{"id":"ghost","state":"running"}]}}`, `{"type":"changes","changes":{"runners":[{"id":"ghost","state":"running"}]}}`,
			`{"type":"changes","epoch":1,"changes":{"gone":["nobody"]}}`,
		} {
			p.say("%s", text)
		}
		synctest.Wait()
		require.True(t, w.host("a").Ready)
		require.Empty(t, w.list())
		require.Zero(t, w.host("a").Held)
	})
}

func TestFloods(t *testing.T) {
	floods := map[string]func(p *peer, i int){
		"frames": func(p *peer, i int) { p.say(`{"type":"pong","epoch":%d}`, p.epoch) },
		"runners": func(p *peer, i int) {
			p.say(`{"type":"changes","epoch":%d,"changes":{"runners":[{"id":"r%d","state":"running"}]}}`, p.epoch, i)
		},
		"parts": func(p *peer, i int) {
			p.say(`{"type":"runners","epoch":%d,"runners":{"runners":[{"id":"r%d","state":"running"}]}}`, p.epoch, i)
		},
	}
	for name, send := range floods {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, fleet.Config{MaxRunners: 100}, memory.Config{}, "a")
				p := w.readyPeer("a")
				go func() {
					for i := range 20000 {
						send(p, i)
					}
				}()
				require.Equal(t, wire.Violation, p.farewell())
				synctest.Wait()
				require.LessOrEqual(t, len(w.list()), 201)
				require.False(t, w.host("a").Online)
			})
		})
	}
}

// An agent that reads nothing: its queue fills up, and nobody waits for it.
func TestASlowReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{Hosts: []fleet.Host{{ID: "a", MaxRunners: 10000}}}, memory.Config{}, "a", "b")
		conn, _, err := w.connect(w.nodes["a"].token)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(hello)))
		_, _, err = conn.ReadMessage()
		require.NoError(t, err)
		require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"runners","epoch":1,"runners":{"runners":[],"last":true}}`)))
		synctest.Wait()
		require.True(t, w.host("a").Ready)

		answers := make(chan error, 400)
		for range 400 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				answers <- w.Launch(ctx, spec(newID()))
			}()
		}
		began, definite := time.Now(), 0
		for range 400 {
			if err := <-answers; backend.IsDefinite(err) {
				definite++
			} else {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		}
		require.Equal(t, 399, definite, "only one has begun to leave; the others never will")
		require.Equal(t, 5*time.Second, time.Since(began))
		require.Equal(t, 1, w.host("a").Held)
		w.after(time.Minute)
		require.False(t, w.host("a").Online, "silent for two beats")
		w.nodes["b"].start()
		w.after(time.Second)
		w.launch()
	})
}

func TestSilenceEndsASessionOnTheHub(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{Heartbeat: 10 * time.Second}, memory.Config{}, "a")
		p := w.readyPeer("a")
		w.after(19 * time.Second)
		require.True(t, w.host("a").Online)
		w.after(2 * time.Second)
		require.False(t, w.host("a").Online, "20 s without a word")
		p.farewell()
	})
}

func TestOneEngineUnderTwoHosts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b", "c")
		w.startAll()
		w.nodes["b"].stop()
		w.after(time.Second)
		w.nodes["b"].config.Engine = "engine-a"
		w.nodes["b"].start()
		w.after(30 * time.Second)
		require.True(t, w.host("a").Ready, "who was there first goes on")
		require.False(t, w.host("b").Online)
		require.Regexp(t, "^host-duplicated: with b, .*slipway hosts revoke", w.host("a").Problem)
		require.Regexp(t, "^host-duplicated: with a, .*slipway hosts revoke", w.host("b").Problem)
		require.Empty(t, w.host("c").Problem)

		w.nodes["b"].stop()
		w.nodes["b"].config.Engine = "engine-b"
		w.nodes["b"].start()
		w.after(30 * time.Second)
		require.True(t, w.host("b").Ready)
		require.Empty(t, w.host("a").Problem)

		p := w.peer("a", `{"type":"hello","hello":{"protocol":1,"agent":"agent-a","engine":"another","facts":{}}}`)
		require.Equal(t, wire.Duplicated, p.farewell(), "a second engine under one host")
		require.Contains(t, w.host("a").Problem, "host-duplicated: it was told with another agent or engine than it is bound to")
		require.Contains(t, w.log.String(), "host a is bound to another engine")
		require.True(t, w.host("a").Ready)
	})
}

// An agent is believed about its own host alone.
func TestAHostCannotClaimAnothersRunner(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b")
		w.nodes["b"].start()
		w.after(time.Second)
		id := w.launch()
		p := w.readyPeer("a")
		p.say(`{"type":"changes","epoch":%d,"changes":{"runners":[{"id":%q,"state":"exited","exit_code":0}]}}`, p.epoch, id)
		p.say(`{"type":"changes","epoch":%d,"changes":{"gone":[%q]}}`, p.epoch, id)
		p.say(`{"type":"changes","epoch":%d,"changes":{"runners":[{"id":%q,"state":"failed"}]}}`, p.epoch, id)
		synctest.Wait()
		require.Equal(t, "b", w.shown(id).Host)
		require.Equal(t, backend.Running, w.shown(id).State)
		require.Contains(t, w.host("a").Problem, "foreign-runners")
		require.NoError(t, w.Remove(t.Context(), id))
		require.Zero(t, alive(w.nodes["b"].engine, id))
	})
}

func TestLogsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		lines := make([]string, 0, 100000)
		for i := range cap(lines) {
			lines = append(lines, fmt.Sprintf("line %06d %s", i, strings.Repeat("x", 88)))
		}
		w.nodes["a"].engine = memory.New(memory.Config{Behaviour: func(backend.Spec) memory.Program { return memory.Program{Output: lines} }})
		w.startAll()
		id := w.launch()
		w.after(time.Second)
		log, err := w.Logs(t.Context(), id, 0)
		require.NoError(t, err)
		text, err := io.ReadAll(log)
		require.NoError(t, err)
		require.LessOrEqual(t, len(text), wire.MaxLog)
		require.Greater(t, len(text), wire.MaxLog-200)
		require.True(t, strings.HasPrefix(string(text), "line "), "from the beginning of a line")
		require.True(t, strings.HasSuffix(string(text), lines[len(lines)-1]+"\n"), "the end of it")

		p := w.peer("a", hello)
		p.welcomed()
		p.say(`{"type":"runners","epoch":%d,"runners":{"runners":[{"id":%q,"state":"running"}],"last":true}}`, p.epoch, id)
		synctest.Wait()
		failed := make(chan error, 1)
		go func() {
			_, err := w.Logs(t.Context(), id, 0)
			failed <- err
		}()
		f := p.next()
		require.Equal(t, wire.Logs, f.Type)
		piece := make([]byte, wire.MaxChunk)
		for range wire.MaxLog/wire.MaxChunk + 2 {
			p.sayFrame(wire.Frame{Type: wire.Chunk, Epoch: p.epoch, ID: f.ID, Data: piece})
		}
		require.Error(t, <-failed)
		require.Equal(t, wire.Violation, p.farewell())
	})
}

// The secret of a launch is in the launch's frame, and nowhere else.
func TestSecretsAreInLaunchesAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		p := w.readyPeer("a")
		prepared, launched := make(chan error, 1), make(chan error, 1)
		go func() { prepared <- w.Prepare(t.Context(), spec(newID())) }()
		f := p.next()
		require.Equal(t, wire.Prepare, f.Type)
		require.Empty(t, f.Spec.Env)
		p.say(`{"type":"answer","epoch":%d,"id":%d}`, p.epoch, f.ID)
		require.NoError(t, <-prepared)
		secret := tokens.New(tokens.EphemeralRegistration).Reveal()
		sent := spec(newID())
		sent.Env["REGISTRATION"] = secret
		go func() { launched <- w.Launch(t.Context(), sent) }()
		f = p.next()
		require.Equal(t, secret, f.Spec.Env["REGISTRATION"])
		require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", f, f, *f.Spec, f.Spec), secret)
		p.sayFrame(wire.Frame{Type: wire.Answer, Epoch: p.epoch, ID: f.ID, Error: &wire.Error{Code: wire.Refused, Message: "the engine echoes " + secret}})
		err := <-launched
		require.ErrorIs(t, err, backend.ErrRefused)
		require.NotContains(t, err.Error(), secret)
		require.NotContains(t, fmt.Sprintf("%+v", w.Hosts()), secret)
		for _, text := range []string{w.log.String(), fmt.Sprintf("%+v", w.list())} {
			require.NotContains(t, text, secret)
			require.NotContains(t, text, canary)
			require.NotContains(t, text, w.nodes["a"].token.Reveal())
		}
	})
}

// A launch is not sent before its record is written: a hub that is killed in
// between knows where to look.
func TestTheRecordIsWrittenFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &slowStore{MemoryStore: fleet.NewMemoryStore()}
		w := newWorld(t, fleet.Config{Store: store}, memory.Config{}, "a")
		p := w.readyPeer("a")
		store.slow.Store(true)
		began, id := time.Now(), newID()
		go func() { _ = w.Launch(t.Context(), spec(id)) }()
		require.Equal(t, wire.Launch, p.next().Type)
		require.Equal(t, 5*time.Second, time.Since(began))
		records, err := store.Load(t.Context())
		require.NoError(t, err)
		require.Len(t, records, 1)
		require.Equal(t, fleet.Record{Runner: id, Host: "a", Labels: map[string]string{"template": "small"}, Created: began.UTC()}, records[0], "and no environment")
	})
}

type slowStore struct {
	*fleet.MemoryStore
	slow atomic.Bool
}

func (s *slowStore) Save(ctx context.Context, put []fleet.Record, gone []string) error {
	if s.slow.Load() {
		time.Sleep(5 * time.Second)
	}
	return s.MemoryStore.Save(ctx, put, gone)
}

// Whatever an agent sends, the others are served and listings make sense.
func FuzzSession(f *testing.F) {
	f.Add(`{"type":"runners","epoch":1,"runners":{"runners":[{"id":"x","state":"running"}],"last":true}}` + "\n" +
		`{"type":"changes","epoch":1,"changes":{"runners":[{"id":"y","state":"failed"}],"gone":["x"]}}`)
	f.Add(`{"type":"runners","epoch":1,"runners":{"runners":[],"undecided":["z"],"last":true}}` + "\n" + `{"type":"answer","epoch":1,"id":1,"error":{"code":"exists"}}`)
	f.Add(`{"type":"blind","epoch":1,"error":{"code":"unavailable"}}` + "\n" + `{"type":"bye","error":{"code":"stopping"}}`)
	f.Add(`{"type":"chunk","epoch":1,"id":1,"data":"eA=="}` + "\n" + `nonsense`)
	f.Add(`{"type":"facts","epoch":1,"facts":{"cpus":4,"gpus":[{"id":"g"}],"disk":{"free":1,"total":2}}}` + "\n" +
		`{"type":"answer","epoch":1,"id":1,"stats":{"cpus":1,"disk":{"free":1,"total":2}}}` + "\n" + `{"type":"answer","epoch":1,"id":2,"digest":"00"}`)
	f.Add(`{"type":"runners","epoch":1,"runners":{"runners":[{"id":"x","state":"running","labels":{"host-share":"{\"cpu\":-1,\"gpus\":[\"g\",\"g\"]}","template":"t"}}],"last":true}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			t.Skip("longer than any frames that are worth trying")
		}
		bubble(t, func(t *testing.T) {
			w := newWorld(t, fleet.Config{}, memory.Config{}, "a", "b")
			w.nodes["b"].start()
			w.after(time.Second)
			p := w.peer("a", hello)
			p.welcomed()
			for line := range strings.Lines(text) {
				p.say("%s", strings.TrimSpace(line))
			}
			synctest.Wait()
			w.after(20 * time.Second) // a beat, and with it a request for stats
			require.NoError(t, w.Audit())
			w.Explain("small")
			require.NoError(t, w.Cordon("a", true))
			id := w.launch()
			require.Equal(t, "b", w.shown(id).Host)
			before := ""
			for _, r := range w.list() {
				require.Less(t, before, r.ID, "each once, in order")
				before = r.ID
			}
			require.NoError(t, w.Remove(t.Context(), id))
		})
	})
}
