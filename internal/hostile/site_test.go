package hostile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long something may take that takes a moment.
const patience = 2 * time.Minute

// site is a hub with what it takes to add hosts.
type site struct {
	t     *testing.T
	hub   *hub.Hub
	url   string
	admin string
	log   *lines
	dir   string   // of the hub's data
	lines []string // install lines that were made
	http  *http.Client
}

// lines is what the hub logs.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newSite starts a hub.
func newSite(t *testing.T, adjust ...func(*hub.Config)) *site {
	t.Helper()
	s := &site{t: t, log: &lines{}, http: &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}}
	config := hub.Config{
		DataDir: storetest.Dir(t), Listen: "127.0.0.1:0", PublicURL: "http://127.0.0.1:1",
		MinFree: 1, MinFreePercent: 0.0001, Reserve: 4096, DrainTimeout: time.Second, ShutdownTimeout: time.Second,
		Logger: hclog.New(&hclog.LoggerOptions{Output: s.log, Level: hclog.Info}),
	}
	for _, a := range adjust {
		a(&config)
	}
	s.dir = config.DataDir
	var err error
	s.hub, err = hub.Open(t.Context(), config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.hub.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	s.url, s.admin = s.hub.URL(), s.hub.AdminToken().Reveal()
	require.Eventually(t, func() bool { return s.ask("GET", "/healthz", "", nil) == nil }, patience, 10*time.Millisecond)
	return s
}

// ask calls the API; into nil drops the answer.
func (s *site) ask(method, path, body string, into any) error {
	request, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.admin)
	request.Header.Set("Content-Type", "application/json")
	answer, err := s.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, path, answer.StatusCode, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// must is ask, and what fails ends the test.
func (s *site) must(method, path, body string, into any) {
	s.t.Helper()
	require.NoError(s.t, s.ask(method, path, body, into))
}

var invitation = regexp.MustCompile(`/install/([^/ ]+)\.sh`)

// host is one that was enrolled.
type host struct {
	site  *site
	id    string
	name  string
	agent string
	token tokens.Token
}

// enrol adds a host, and enrols an agent that does not run yet.
func (s *site) enrol(name string, most int) *host {
	s.t.Helper()
	var added client.NewHost
	s.must("POST", "/api/v1/hosts", fmt.Sprintf(`{"name": %q, "labels": {"pool": "all"}, "max_runners": %d}`, name, most), &added)
	h := &host{site: s, id: added.ID, name: name, agent: uuid.NewString(), token: tokens.New(tokens.Agent)}
	found := invitation.FindStringSubmatch(added.Enrolment.Line)
	require.NotNil(s.t, found)
	s.lines = append(s.lines, found[1])
	body := fmt.Sprintf(`{"agent": %q, "digest": %q, "version": "v1.0.0"}`, h.agent, h.token.Digest())
	request, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url+"/api/v1/agent/enrol", strings.NewReader(body))
	require.NoError(s.t, err)
	request.Header.Set("Authorization", "Bearer "+found[1])
	answer, err := s.http.Do(request)
	require.NoError(s.t, err)
	_ = answer.Body.Close()
	require.Equal(s.t, 200, answer.StatusCode)
	return h
}

// honest runs an agent on the host, and returns when it may get runners.
func (h *host) honest(config memory.Config) *memory.Engine {
	h.site.t.Helper()
	engine := memory.New(config)
	a, err := agent.New(agent.Config{
		Hub: h.site.url, Token: func() tokens.Token { return h.token }, ID: h.agent, Engine: "engine-" + h.name, Version: "v1.0.0",
		Backend: engine.Backend(h.id), Facts: agent.Facts{OS: "linux", Arch: "amd64", CPUs: 64, Memory: 64 << 30},
	})
	require.NoError(h.site.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() { _ = a.Run(ctx) })
	h.site.t.Cleanup(func() {
		cancel()
		ran.Wait()
	})
	h.ready()
	return engine
}

func (h *host) state() (state client.Host) {
	h.site.t.Helper()
	h.site.must("GET", "/api/v1/hosts/"+h.name, "", &state)
	return state
}

func (h *host) ready() {
	h.site.t.Helper()
	require.Eventually(h.site.t, func() bool { return h.state().Ready }, patience, 20*time.Millisecond)
}

// scaleSet is one that every host may serve.
func (s *site) scaleSet(name string, most int) {
	s.t.Helper()
	s.must("POST", "/api/v1/scale-sets", fmt.Sprintf(
		`{"name": %q, "labels": [%q], "image": "img:1", "cpu": 0.1, "memory": "16m", "max": %d, "selector": {"pool": "all"}}`, name, name, most), nil)
}

// jobs submits so many, for the scale set.
func (s *site) jobs(set string, count int) {
	s.t.Helper()
	for range count {
		s.must("POST", "/api/v1/jobs", fmt.Sprintf(`{"labels": [%q], "run": "true"}`, set), nil)
	}
}

// liar is an agent that says what the test wants.
type liar struct {
	t      *testing.T
	conn   *websocket.Conn
	epoch  uint64
	mu     sync.Mutex
	answer func(wire.Frame) string // the answer's further fields; - for none
	ended  chan struct{}
	bye    wire.Code // why, as the hub told it
}

// lie connects as the host's agent, with an empty list and these facts.
func (h *host) lie(facts string, answer func(wire.Frame) string) *liar {
	h.site.t.Helper()
	l := h.connect(facts, answer)
	l.say(`{"type":"runners","epoch":%d,"runners":{"runners":[],"last":true}}`, l.epoch)
	h.ready()
	return l
}

func (h *host) connect(facts string, answer func(wire.Frame) string) *liar {
	h.site.t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}, HandshakeTimeout: patience}
	conn, resp, err := dialer.Dial("ws"+strings.TrimPrefix(h.site.url, "http")+wire.Path, http.Header{"Authorization": {"Bearer " + h.token.Reveal()}})
	require.NoError(h.site.t, err)
	_ = resp.Body.Close()
	l := &liar{t: h.site.t, conn: conn, answer: answer, ended: make(chan struct{})}
	h.site.t.Cleanup(func() {
		_ = conn.Close()
		<-l.ended
	})
	l.say(`{"type":"hello","hello":{"protocol":1,"agent":%q,"version":"v1.0.0","facts":%s}}`, h.agent, facts)
	welcome := make(chan struct{})
	go l.read(welcome)
	select {
	case <-welcome: // epoch is written
	case <-time.After(patience):
		require.Fail(h.site.t, "no welcome came")
	}
	return l
}

func (l *liar) read(welcome chan<- struct{}) {
	defer close(l.ended)
	for {
		_, data, err := l.conn.ReadMessage()
		if err != nil {
			return
		}
		f, err := wire.Decode(data)
		if err != nil {
			return
		}
		switch {
		case f.Type == wire.Welcome:
			l.epoch = f.Welcome.Epoch
			close(welcome)
		case f.Type == wire.Bye:
			l.mu.Lock()
			l.bye = f.Error.Code
			l.mu.Unlock()
		case f.Type == wire.Ping:
			l.say(`{"type":"pong","epoch":%d}`, l.epoch)
		case f.ID != 0:
			if more := l.answer(f); more != "-" {
				l.say(`{"type":"answer","epoch":%d,"id":%d%s}`, l.epoch, f.ID, more)
			}
		}
	}
}

// say sends a text, and tells whether it could.
func (l *liar) say(format string, args ...any) bool {
	return l.send([]byte(fmt.Sprintf(format, args...)))
}

func (l *liar) send(text []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(patience))
	return l.conn.WriteMessage(websocket.TextMessage, text) == nil
}

// agrees answers every request with success.
func agrees(wire.Frame) string { return "" }

// silent answers none.
func silent(wire.Frame) string { return "-" }
