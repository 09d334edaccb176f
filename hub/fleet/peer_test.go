package fleet_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// peer is an agent by hand: it says whatever the test wants.
type peer struct {
	world  *world
	conn   *websocket.Conn
	frames chan wire.Frame // what came; closed at the end
	epoch  uint64
	deaf   atomic.Bool
	mu     sync.Mutex // one frame after the other is written
}

func (w *world) connect(token tokens.Token) (*websocket.Conn, *http.Response, error) {
	dialer := websocket.Dialer{NetDialContext: w.dial, Subprotocols: []string{wire.Subprotocol}}
	return dialer.DialContext(w.t.Context(), "ws://hub.test"+wire.Path, http.Header{"Authorization": {"Bearer " + token.Reveal()}})
}

// peer connects as the host id and says hello; the welcome is the first frame.
func (w *world) peer(id, hello string) *peer {
	w.t.Helper()
	conn, _, err := w.connect(w.nodes[id].token)
	require.NoError(w.t, err)
	p := &peer{world: w, conn: conn, frames: make(chan wire.Frame, 100000)}
	w.t.Cleanup(func() { conn.Close() })
	p.say("%s", hello)
	go func() {
		defer close(p.frames)
		for {
			_, data, err := conn.ReadMessage()
			if err != nil {
				return
			}
			f, err := wire.Decode(data)
			if err != nil {
				panic(err) // the hub's own frames
			}
			p.frames <- f
			if p.deaf.Load() {
				return
			}
		}
	}()
	return p
}

const hello = `{"type":"hello","hello":{"protocol":1,"agent":"by-hand","facts":{"cpus":10}}}`

// ready is a peer whose empty list was taken over.
func (w *world) readyPeer(id string) *peer {
	w.t.Helper()
	p := w.peer(id, hello)
	p.welcomed()
	p.say(`{"type":"runners","epoch":%d,"runners":{"runners":[],"last":true}}`, p.epoch)
	synctest.Wait()
	require.True(w.t, w.host(id).Ready)
	return p
}

// obey answers heartbeats, and the requests that answers says to, all with success.
func (p *peer) obey(answers func(wire.Frame) bool) {
	go func() {
		for f := range p.frames {
			switch {
			case f.Type == wire.Ping:
				p.say(`{"type":"pong","epoch":%d}`, p.epoch)
			case f.ID != 0 && answers(f):
				p.say(`{"type":"answer","epoch":%d,"id":%d}`, p.epoch, f.ID)
			}
		}
	}()
}

func (p *peer) welcomed() wire.Terms {
	p.world.t.Helper()
	f := p.next()
	require.Equal(p.world.t, wire.Welcome, f.Type)
	p.epoch = f.Welcome.Epoch
	return *f.Welcome
}

// say sends a text; one that can't be sent any more is lost.
func (p *peer) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.conn.SetWriteDeadline(time.Now().Add(time.Minute))
	_ = p.conn.WriteMessage(websocket.TextMessage, []byte(fmt.Sprintf(format, args...)))
}

// next is the next frame that is no heartbeat.
func (p *peer) next() wire.Frame {
	p.world.t.Helper()
	for {
		select {
		case f, ok := <-p.frames:
			require.True(p.world.t, ok, "the connection is closed")
			if f.Type == wire.Ping {
				p.say(`{"type":"pong","epoch":%d}`, p.epoch)
				continue
			}
			return f
		case <-time.After(time.Hour):
			p.world.t.Fatal("nothing came")
		}
	}
}

// farewell reads on to the end, and gives the code of the last bye.
func (p *peer) farewell() (code wire.Code) {
	p.world.t.Helper()
	deadline := time.After(time.Hour)
	for {
		select {
		case f, ok := <-p.frames:
			if !ok {
				return code
			}
			if f.Type == wire.Bye {
				code = f.Error.Code
			}
		case <-deadline:
			p.world.t.Fatal("the connection does not end")
		}
	}
}

func (p *peer) sayFrame(f wire.Frame) {
	data, err := json.Marshal(f)
	require.NoError(p.world.t, err)
	p.say("%s", strings.TrimSpace(string(data)))
}
