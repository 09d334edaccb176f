package agentd

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/tokens"
)

// patience bounds a wait for a condition.
const patience = time.Minute

// frame is one message of the protocol, as docs/agent-protocol.md has it: this hub
// is written from that page, not from our code.
type frame map[string]any

// text is a field of a field of the frame.
func (f frame) text(path ...string) string {
	var v any = map[string]any(f)
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	s, _ := v.(string)
	return s
}

// hub is a hub by hand: it enrols, serves installations, and holds sessions.
type hub struct {
	t      *testing.T
	server *httptest.Server
	once   tokens.Token      // the enrolment token that is good
	files  map[string][]byte // below /install/

	mu       sync.Mutex
	agent    string                         // whose enrolment it was
	owner    string                         // as it is answered; empty: owner-1
	digests  map[string]bool                // the credentials that are let in
	removed  bool                           // who connects is told that the host was removed
	deaf     bool                           // answers no connection
	enrol    func(http.ResponseWriter) bool // true: it has answered
	enrolled int
	body     []byte // of the last enrolment
	conns    map[*conn]bool
	seen     []string // everything that came in, for searches
	arrived  chan *conn
}

// conn is one session.
type conn struct {
	hub     *hub
	socket  *websocket.Conn
	digest  string
	hello   frame
	frames  chan frame
	passed  []frame // what wait has read
	writing sync.Mutex
}

func newHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{t: t, once: tokens.New(tokens.Enrolment), files: map[string][]byte{}, digests: map[string]bool{}, conns: map[*conn]bool{}, arrived: make(chan *conn, 1000)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/agent/enrol", h.takeEnrolment)
	mux.HandleFunc("GET /api/v1/agent/connect", h.connect)
	mux.HandleFunc("GET /install/{file}", func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		data, ok := h.files[r.PathValue("file")]
		h.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	})
	h.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		h.hangUp()
		h.server.Close()
	})
	return h
}

func (h *hub) url() string { return h.server.URL }

func (h *hub) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *hub) takeEnrolment(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enrolled++
	h.body = body
	h.seen = append(h.seen, string(body))
	var asked struct{ Agent, Digest string }
	problem := func(status int, detail string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "detail": detail})
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer "+h.once.Reveal():
		problem(http.StatusUnauthorized, "the enrolment token is unknown")
		return
	case json.Unmarshal(body, &asked) != nil || len(asked.Digest) != 64 || asked.Agent == "":
		problem(http.StatusUnprocessableEntity, "no such body")
		return
	case h.agent != "" && (h.agent != asked.Agent || !h.digests[asked.Digest]):
		problem(http.StatusConflict, "used for another credential")
		return
	}
	h.agent = asked.Agent
	h.digests[asked.Digest] = true
	if h.enrol != nil && h.enrol(w) {
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"host": "host-1", "name": "builder-01", "owner": cmp.Or(h.owner, "owner-1"), "labels": map[string]string{}})
}

func (h *hub) connect(w http.ResponseWriter, r *http.Request) {
	token, err := tokens.Parse(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	h.mu.Lock()
	known, removed, deaf := h.digests[token.Digest().String()], h.removed, h.deaf
	h.mu.Unlock()
	if deaf {
		if socket, _, err := http.NewResponseController(w).Hijack(); err == nil {
			socket.Close()
		}
		return
	}
	if err != nil || !known {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	socket, err := (&websocket.Upgrader{Subprotocols: []string{"slipway-agent"}}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer socket.Close()
	c := &conn{hub: h, socket: socket, digest: token.Digest().String(), frames: make(chan frame, 10000)}
	if c.hello, err = c.read(); err != nil {
		return
	}
	if removed {
		c.send(frame{"type": "bye", "error": frame{"code": "host-removed", "message": "removed"}})
		return
	}
	c.send(frame{"type": "welcome", "welcome": frame{"protocol": 1, "epoch": 1, "heartbeat_ms": 60000, "hub": "test"}})
	h.set(func() { h.conns[c] = true })
	defer h.set(func() { delete(h.conns, c) })
	h.arrived <- c
	defer close(c.frames)
	for {
		f, err := c.read()
		if err != nil {
			return
		}
		c.frames <- f
	}
}

func (c *conn) read() (frame, error) {
	_, data, err := c.socket.ReadMessage()
	if err != nil {
		return nil, err
	}
	c.hub.set(func() { c.hub.seen = append(c.hub.seen, string(data)) })
	var f frame
	return f, json.Unmarshal(data, &f)
}

func (c *conn) send(f frame) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.socket.WriteJSON(f)
}

// ask sends a request and waits for its answer.
func (c *conn) ask(f frame) frame {
	c.hub.t.Helper()
	c.send(f)
	return c.wait("an answer", func(got frame) bool { return got.text("type") == "answer" && got["id"] == float64(f["id"].(int)) })
}

// wait reads until a frame is meant.
func (c *conn) wait(what string, meant func(frame) bool) frame {
	c.hub.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case f, ok := <-c.frames:
			if !ok {
				c.hub.t.Fatalf("the session ended without %s", what)
			}
			c.passed = append(c.passed, f)
			if meant(f) {
				return f
			}
		case <-timer.C:
			c.hub.t.Fatalf("%s never came", what)
		}
	}
}

// session waits for the next one.
func (h *hub) session() *conn {
	h.t.Helper()
	select {
	case c := <-h.arrived:
		return c
	case <-time.After(patience):
		h.t.Fatal("no agent connects")
		return nil
	}
}

// hangUp ends all sessions.
func (h *hub) hangUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		_ = c.socket.Close()
	}
}

// all is everything that came in.
func (h *hub) all() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.seen, "\n")
}

// enrolHere enrols a new data folder with the hub.
func (h *hub) enrolHere(t *testing.T) string {
	t.Helper()
	h.set(func() { h.agent = "" })
	data := t.TempDir() + "/data"
	clearLater(t, data)
	_, err := Enrol(t.Context(), Enrolment{Data: data, Hub: h.url(), Token: h.once})
	require.NoError(t, err)
	return data
}

// clearLater removes, when the agent has ended, what processes are left of its
// runners: they would still write to their folders.
func clearLater(t *testing.T, data string) {
	t.Cleanup(func() {
		folder, err := identity.Find(data)
		if err != nil {
			return
		}
		who, err := folder.Identity()
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		require.NoError(t, Config{Data: data, Backend: "process"}.purgeEngine(ctx, io.Discard, who.Owners(), true))
	})
}
