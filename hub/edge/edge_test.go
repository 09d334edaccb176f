package edge_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/edge"
	"github.com/slipway-ci/slipway/tokens"
)

func through(cfg edge.Config, r *http.Request) (client, id string, answer *httptest.ResponseRecorder) {
	answer = httptest.NewRecorder()
	edge.New(cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, id = edge.ClientIP(r), r.Header.Get(edge.HeaderRequestID)
	})).ServeHTTP(answer, r)
	return client, id, answer
}

func TestClientIP(t *testing.T) {
	trusted := edge.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}}
	for _, c := range []struct {
		name, peer, header, want string
		cfg                      edge.Config
	}{
		{"no proxy", "192.0.2.7:1", "", "192.0.2.7", trusted},
		{"nobody is trusted", "127.0.0.1:1", "198.51.100.1", "127.0.0.1", edge.Config{}},
		{"not this peer", "192.0.2.7:1", "198.51.100.1", "192.0.2.7", trusted},
		{"a proxy", "127.0.0.1:1", "198.51.100.1", "198.51.100.1", trusted},
		{"what stands left of an untrusted hop is forged", "127.0.0.1:1", "203.0.113.9, 198.51.100.1", "198.51.100.1", trusted},
		{"two proxies", "127.0.0.1:1", "203.0.113.9, 10.1.1.1", "203.0.113.9", trusted},
		{"nonsense", "127.0.0.1:1", "198.51.100.1, unknown", "127.0.0.1", trusted},
		{"a mapped address", "127.0.0.1:1", "::ffff:198.51.100.1", "198.51.100.1", trusted},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			if c.header != "" {
				r.Header.Set("X-Forwarded-For", c.header)
			}
			client, _, _ := through(c.cfg, r)
			require.Equal(t, c.want, client)
		})
	}
}

func TestRequestID(t *testing.T) {
	trusted := edge.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}} // httptest's peer
	ask := func(cfg edge.Config, given string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(edge.HeaderRequestID, given)
		_, id, answer := through(cfg, r)
		require.Equal(t, id, answer.Header().Get(edge.HeaderRequestID))
		return id
	}
	require.Equal(t, "abc-1", ask(trusted, "abc-1"))
	require.NotEqual(t, "abc-1", ask(edge.Config{}, "abc-1"), "anybody's is not taken over")
	require.Len(t, ask(trusted, "two\nlines"), 36)
	require.NotEqual(t, ask(edge.Config{}, ""), ask(edge.Config{}, ""))
}

func TestHeaders(t *testing.T) {
	_, _, answer := through(edge.Config{}, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, "nosniff", answer.Header().Get("X-Content-Type-Options"))
	require.Contains(t, answer.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'")
	require.Empty(t, answer.Header().Get("Strict-Transport-Security"))
	_, _, answer = through(edge.Config{TLS: true}, httptest.NewRequest("GET", "/", nil))
	require.NotEmpty(t, answer.Header().Get("Strict-Transport-Security"))
}

func TestTheLogHasNoToken(t *testing.T) {
	var log bytes.Buffer
	token := tokens.New(tokens.Enrolment).Reveal()
	through(edge.Config{Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug})}, httptest.NewRequest("GET", "/install/"+token+".sh", nil))
	require.Contains(t, log.String(), `path="/install/sf_….sh" status=200`)
	require.NotContains(t, log.String(), token[8:])
}

// A connection that is taken over, and an answer that is flushed, work through it.
func TestWebSocketsAndFlushes(t *testing.T) {
	server := httptest.NewServer(edge.New(edge.Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/flush" {
			require.NoError(t, http.NewResponseController(w).Flush())
			return
		}
		conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err == nil {
			_ = conn.WriteMessage(websocket.TextMessage, []byte("hello"))
			_ = conn.Close()
		}
	})))
	defer server.Close()
	res, err := http.Get(server.URL + "/flush")
	require.NoError(t, err)
	_ = res.Body.Close()
	conn, _, err := websocket.DefaultDialer.Dial("ws"+server.URL[len("http"):], nil)
	require.NoError(t, err)
	defer conn.Close()
	_, text, err := conn.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "hello", string(text))
}
