package door_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/fleet/door"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hello = `{"type":"hello","hello":{"protocol":1,"agent":"agent-a","facts":{"cpus":4}}}`

// entrance is a door behind a server, with what came of it.
type entrance struct {
	*door.Door
	t        *testing.T
	url      string
	good     tokens.Token
	removed  tokens.Token
	other    tokens.Token // no agent's, though its digest is known
	failing  atomic.Bool
	admitted chan string
	away     chan string
}

func newEntrance(t *testing.T) *entrance {
	t.Helper()
	e := &entrance{t: t, good: tokens.New(tokens.Agent), removed: tokens.New(tokens.Agent), other: tokens.New(tokens.Admin), admitted: make(chan string, 20), away: make(chan string, 20)}
	e.Door = door.New(door.Config{
		Authenticate: func(_ context.Context, d tokens.Digest) (door.Caller, error) {
			switch {
			case e.failing.Load():
				return door.Caller{}, errors.New("the database is gone")
			case d.Equal(e.good.Digest()), d.Equal(e.other.Digest()):
				return door.Caller{Host: "a"}, nil
			case d.Equal(e.removed.Digest()):
				return door.Caller{Host: "a", Removed: true}, nil
			}
			return door.Caller{}, nil
		},
		Admit: func(_ context.Context, link *wire.Link, host string, hello *wire.Greeting) error {
			e.admitted <- host + " " + hello.Agent
			link.Bye(wire.ErrStopping)
			_ = link.Run(func(wire.Frame) error { return nil })
			return nil
		},
		TurnedAway: func(_ hclog.Level, host string, why error) { e.away <- host + ": " + why.Error() },
		Logger:     hclog.NewNullLogger(),
	})
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

// knock dials with that authorization.
func (e *entrance) knock(authorization string, protocols ...string) (*websocket.Conn, int) {
	e.t.Helper()
	dialer := websocket.Dialer{Subprotocols: protocols}
	conn, answer, err := dialer.DialContext(e.t.Context(), strings.Replace(e.url, "http", "ws", 1), http.Header{"Authorization": {authorization}})
	require.NotNil(e.t, answer, err)
	if err == nil {
		e.t.Cleanup(func() { conn.Close() })
	}
	return conn, answer.StatusCode
}

func (e *entrance) connect(token tokens.Token) *websocket.Conn {
	e.t.Helper()
	conn, status := e.knock("Bearer "+token.Reveal(), wire.Subprotocol)
	require.Equal(e.t, http.StatusSwitchingProtocols, status)
	return conn
}

func (e *entrance) next(from chan string) string {
	e.t.Helper()
	select {
	case text := <-from:
		return text
	case <-time.After(20 * time.Second):
		e.t.Fatal("nothing came")
		return ""
	}
}

// rest is all that the door says until the end.
func rest(conn *websocket.Conn) (text string) {
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			return text
		}
		text += string(data)
	}
}

// Who has no good credential learns nothing else, be it that the door is closed.
func TestWhoIsLetIn(t *testing.T) {
	e := newEntrance(t)
	for _, bad := range []string{"", "Bearer", "Bearer " + tokens.New(tokens.Agent).Reveal(), "Basic " + e.good.Reveal(), "Bearer " + e.other.Reveal()} {
		_, status := e.knock(bad, wire.Subprotocol)
		require.Equal(t, http.StatusUnauthorized, status, bad)
	}
	good := "Bearer " + e.good.Reveal()
	_, status := e.knock(good, wire.Subprotocol)
	require.Equal(t, http.StatusServiceUnavailable, status, "it is not open yet")
	e.Open()
	_, status = e.knock(good, "another")
	require.Equal(t, http.StatusBadRequest, status)
	e.failing.Store(true)
	_, status = e.knock(good, wire.Subprotocol)
	require.Equal(t, http.StatusInternalServerError, status)
	e.failing.Store(false)

	conn := e.connect(e.good)
	require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(hello)))
	require.Equal(t, "a agent-a", e.next(e.admitted))
	rest(conn)
	conn = e.connect(e.good)
	require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping","epoch":1}`)))
	require.Contains(t, e.next(e.away), "before a hello")
	require.Contains(t, rest(conn), "violation")
	conn = e.connect(e.removed)
	require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(hello)))
	require.Contains(t, rest(conn), "host-removed")
	require.Contains(t, e.next(e.away), "a: ")
	e.Close()
	_, status = e.knock(good, wire.Subprotocol)
	require.Equal(t, http.StatusServiceUnavailable, status)
	e.Wait()
	require.Empty(t, e.admitted)
}

// Of one host only a few may owe the hello, and those hold up no stop.
func TestWhoOwesTheHello(t *testing.T) {
	e := newEntrance(t)
	e.Open()
	conns := make([]*websocket.Conn, 9)
	for i := range conns {
		conns[i] = e.connect(e.good)
	}
	require.Equal(t, "a: "+wire.ErrStopping.Error(), e.next(e.away), "one too many")
	conn := e.connect(e.removed)
	require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(hello)))
	require.Contains(t, rest(conn), "host-removed", "those of one that was removed are counted by themselves")
	require.Contains(t, e.next(e.away), "a: ")
	for _, conn := range conns {
		conn.Close()
	}
	for range 8 {
		require.Contains(t, e.next(e.away), "a: ")
	}
	conn = e.connect(e.good)
	require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(hello)))
	require.Equal(t, "a agent-a", e.next(e.admitted))
	rest(conn)

	began := time.Now()
	conn = e.connect(e.good)
	e.Close()
	e.Wait()
	rest(conn)
	require.Less(t, time.Since(began), wire.HelloTimeout, "nobody waits for its hello")
}
