package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is a hub by hand, on in-memory pipes: it gives the test each connection.
type hub struct {
	t        *testing.T
	requests chan *http.Request
	conns    chan *hubConn
	accepts  chan net.Conn
	closed   chan struct{}
	refuse   int  // status; 0: accept
	swallow  bool // dials get no answer
}

// hubConn is one connection of an agent.
type hubConn struct {
	t      *testing.T
	conn   *websocket.Conn
	frames chan wire.Frame // closed at the end
	epoch  uint64
	deaf   atomic.Bool // reads no more
}

type address struct{}

func (address) Network() string { return "memory" }
func (address) String() string  { return "memory" }

func (h *hub) Addr() net.Addr { return address{} }
func (h *hub) Close() error   { return nil }
func (h *hub) Accept() (net.Conn, error) {
	select {
	case conn := <-h.accepts:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *hub) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if h.swallow {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	select {
	case h.accepts <- theirs:
		return ours, nil
	case <-h.closed:
		return nil, errors.New("no hub")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func newHub(t *testing.T) *hub {
	h := &hub{t: t, requests: make(chan *http.Request, 1000), conns: make(chan *hubConn, 1000), accepts: make(chan net.Conn), closed: make(chan struct{})}
	upgrader := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests <- r
		if h.refuse != 0 {
			w.WriteHeader(h.refuse)
			return
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		h.serve(conn)
	})}
	var ran sync.WaitGroup
	ran.Go(func() { _ = server.Serve(h) })
	t.Cleanup(func() {
		close(h.closed)
		_ = server.Close()
		for {
			select {
			case c := <-h.conns:
				c.conn.Close()
				continue
			default:
			}
			break
		}
		ran.Wait()
	})
	return h
}

func (h *hub) serve(conn *websocket.Conn) {
	c := &hubConn{t: h.t, conn: conn, frames: make(chan wire.Frame, 10000)}
	h.t.Cleanup(func() { conn.Close() })
	h.conns <- c
	defer close(c.frames)
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if bytes.Contains(data, []byte("canary")) || bytes.Contains(data, []byte(token.Reveal())) {
			h.t.Errorf("the agent sent a secret: %s", data)
		}
		f, err := wire.Decode(data)
		if err != nil {
			h.t.Errorf("the agent sent %s: %v", data, err)
			return
		}
		c.frames <- f
		if c.deaf.Load() {
			<-h.closed
			return
		}
	}
}

// accept is the next connection, with its hello.
func (h *hub) accept() (*hubConn, wire.Frame) {
	h.t.Helper()
	select {
	case c := <-h.conns:
		f := c.next()
		require.Equal(h.t, wire.Hello, f.Type)
		return c, f
	case <-time.After(time.Hour):
		h.t.Fatal("no connection")
		return nil, wire.Frame{}
	}
}

// welcome accepts, and reads the full list.
func (h *hub) welcome(epoch uint64) (*hubConn, *wire.Listed) {
	h.t.Helper()
	c, _ := h.accept()
	c.epoch = epoch
	c.say(wire.Frame{Type: wire.Welcome, Welcome: &wire.Terms{Protocol: 1, Epoch: epoch, HeartbeatMS: time.Hour.Milliseconds()}})
	f := c.next()
	require.Equal(h.t, wire.Runners, f.Type)
	require.True(h.t, f.List.Last)
	return c, f.List
}

func (c *hubConn) say(f wire.Frame) {
	data, err := json.Marshal(f)
	require.NoError(c.t, err)
	_ = c.conn.SetWriteDeadline(time.Now().Add(time.Minute))
	_ = c.conn.WriteMessage(websocket.TextMessage, data)
}

func (c *hubConn) next() wire.Frame {
	c.t.Helper()
	select {
	case f, ok := <-c.frames:
		require.True(c.t, ok, "the connection is closed")
		if f.Type != wire.Hello && f.Type != wire.Bye {
			require.Equal(c.t, c.epoch, f.Epoch)
		}
		return f
	case <-time.After(time.Hour):
		c.t.Fatal("no frame")
		return wire.Frame{}
	}
}

// all are the frames that are there.
func (c *hubConn) all() (frames []wire.Frame) {
	synctest.Wait()
	for {
		select {
		case f, ok := <-c.frames:
			if ok {
				frames = append(frames, f)
				continue
			}
		default:
		}
		return frames
	}
}

// ended says whether the agent has ended the connection, after what is queued.
func (c *hubConn) ended() bool {
	for {
		select {
		case _, ok := <-c.frames:
			if !ok {
				return true
			}
		default:
			return false
		}
	}
}

// log collects what is logged.
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

var token = tokens.New(tokens.Agent)

// start runs an agent over the engine.
func (h *hub) start(engine *memory.Engine, change ...func(*agent.Config)) (out *log, stop func()) {
	h.t.Helper()
	out = &log{}
	config := agent.Config{
		Hub: "http://hub.test/base/", InsecureHTTP: true, Dial: h.dial, Token: func() tokens.Token { return token }, ID: "agent-1", Engine: "engine-1", Version: "v1",
		Backend: engine.Backend("owner"), Facts: agent.Facts{CPUs: 4, Hints: map[string]string{"engine": "memory"}},
		Logger: hclog.New(&hclog.LoggerOptions{Output: out, Level: hclog.Trace}),
	}
	for _, c := range change {
		c(&config)
	}
	a, err := agent.New(config)
	require.NoError(h.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() {
		if err := a.Run(ctx); err != nil {
			h.t.Errorf("run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		ran.Wait()
	})
	h.t.Cleanup(stop)
	return out, stop
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func launchFrame(request uint64, id string) wire.Frame {
	sent, _ := wire.FromSpec(backend.Spec{ID: id, Labels: map[string]string{"max-lifetime": "1h0m0s"}, Env: map[string]string{"TOKEN": "canary-77aa"}})
	return wire.Frame{Type: wire.Launch, ID: request, TimeoutMS: 60000, Spec: sent}
}

// states of the runners that live on the engine.
func live(engine *memory.Engine) (ids []string) {
	for _, r := range engine.Truth() {
		if r.Runner.State.HoldsSlot() {
			ids = append(ids, r.Spec.ID)
		}
	}
	return ids
}
