// Package clitest runs commands in the test's process against a hub that answers
// what was recorded, and compares what they print with files.
package clitest

import (
	"bytes"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
	"github.com/slipway-ci/slipway/tokens"
)

var update = flag.Bool("update", false, "write the files that the output is compared with anew")

// Hub answers requests with what was recorded.
type Hub struct {
	// Token is the one that the commands have.
	Token string

	t       *testing.T
	mu      sync.Mutex
	answers map[string][]Answer
	asked   []Request
}

// Answer is one answer of a Hub. The zero Status is 200.
type Answer struct {
	Status int
	// Body is text, or @ and the name of a file in testdata/hub. In it ‹-90s› is the
	// time that was 90 s ago.
	Body string
}

// Request is one that was asked.
type Request struct {
	// Line is such as GET hosts?limit=5, without the prefix of the API.
	Line, Body, IfMatch, LastEventID string
}

// New starts a hub and points the commands at it.
func New(t *testing.T) *Hub {
	t.Helper()
	h := &Hub{Token: tokens.New(tokens.API).Reveal(), t: t, answers: map[string][]Answer{}}
	h.serve(httptest.NewServer(h))
	return h
}

// NewTLS is New over TLS, with a certificate that no machine trusts: it is in the
// file authority, in PEM.
func NewTLS(t *testing.T) (h *Hub, authority string) {
	t.Helper()
	h = &Hub{Token: tokens.New(tokens.API).Reveal(), t: t, answers: map[string][]Answer{}}
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail as they should
	server.StartTLS()
	h.serve(server)
	authority = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(authority, text, 0o600))
	return h, authority
}

func (h *Hub) serve(server *httptest.Server) {
	h.t.Cleanup(server.Close)
	h.t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	h.t.Setenv(remote.EnvURL, server.URL)
	h.t.Setenv(remote.EnvToken, h.Token)
	h.t.Setenv(remote.EnvCA, "")
}

// On has the hub answer requests with this line: one answer after the other, the
// last of them again and again.
func (h *Hub) On(line string, answers ...Answer) *Hub {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers[line] = answers
	return h
}

// Asked are the requests so far; it forgets them.
func (h *Hub) Asked() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	asked := h.asked
	h.asked = nil
	return asked
}

var ago = regexp.MustCompile(`‹([^›]+)›`)

// ServeHTTP answers what was recorded.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	line := strings.TrimSuffix(r.Method+" "+strings.TrimPrefix(r.URL.EscapedPath(), "/api/v1/")+"?"+r.URL.RawQuery, "?")
	h.mu.Lock()
	h.asked = append(h.asked, Request{line, string(body), r.Header.Get("If-Match"), r.Header.Get("Last-Event-ID")})
	answers := h.answers[line]
	if len(answers) > 1 {
		h.answers[line] = answers[1:]
	}
	h.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "Bearer "+h.Token:
		h.t.Errorf("%s: the token is missing", line)
	case len(answers) == 0:
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, `{"type":"urn:slipway:problem:not-found","status":404,"detail":"nothing is recorded for %s"}`, line)
		return
	}
	text := answers[0].Body
	if name, ok := strings.CutPrefix(text, "@"); ok {
		recorded, err := os.ReadFile(filepath.Join("testdata", "hub", name))
		if err != nil {
			h.t.Error(err)
		}
		text = string(recorded)
	}
	text = ago.ReplaceAllStringFunc(text, func(mark string) string {
		d, err := time.ParseDuration(strings.Trim(mark, "‹›"))
		if err != nil {
			h.t.Error(err)
		}
		return time.Now().Add(d).UTC().Format(time.RFC3339)
	})
	if answers[0].Status != 0 {
		w.WriteHeader(answers[0].Status)
	}
	_, _ = io.WriteString(w, text)
}

// Problem is an answer that is an error.
func Problem(status int, code, detail string) Answer {
	return Answer{status, fmt.Sprintf(`{"type":"urn:slipway:problem:%s","title":"%s","status":%d,"detail":%q}`, code, http.StatusText(status), status, detail)}
}

// Result is what a command did.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Run runs a command line below root with this standard input. No secret that the
// hub told on purpose aside, none may be printed: the token never is.
func (h *Hub) Run(root func() *cobra.Command, stdin io.Reader, args ...string) Result {
	h.t.Helper()
	res := Run(h.t, root, stdin, args...)
	require.NotContains(h.t, res.Stdout+res.Stderr, h.Token[12:], "the token is printed")
	return res
}

// Run runs a command line below root, without a hub.
func Run(t *testing.T, root func() *cobra.Command, stdin io.Reader, args ...string) Result {
	t.Helper()
	var out, errs bytes.Buffer
	c := root()
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	c.SetIn(stdin)
	c.SetOut(&out)
	c.SetErr(&errs)
	code := command.Run(c, args)
	return Result{code, out.String(), errs.String()}
}

var (
	stamp = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
	wire  = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.]*(Z|[+-]\d\d:\d\d)`)
)

// Golden compares text with testdata/golden/name, times aside. With -update it
// writes the file.
func Golden(t *testing.T, name, text string) {
	t.Helper()
	text = stamp.ReplaceAllString(text, "YYYY-MM-DD hh:mm:ss")
	text = wire.ReplaceAllString(text, "TIME")
	path := filepath.Join("testdata", "golden", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text)
}

// Terminal is a standard input where somebody sits and types text.
func Terminal(text string) io.Reader { return terminal{strings.NewReader(text)} }

type terminal struct{ io.Reader }

// Terminal says that it is one.
func (terminal) Terminal() bool { return true }

// Transcript runs a command line and compares all of it with a file: the exit
// code, what it printed, and what it asked the hub.
func (h *Hub) Transcript(name string, root func() *cobra.Command, stdin io.Reader, args ...string) Result {
	h.t.Helper()
	h.Asked()
	res := h.Run(root, stdin, args...)
	var b strings.Builder
	quoted := make([]string, len(args))
	for i, arg := range args {
		if quoted[i] = arg; arg == "" || strings.ContainsAny(arg, " \n'") {
			quoted[i] = fmt.Sprintf("%q", arg)
		}
	}
	fmt.Fprintf(&b, "$ slipway %s\n", strings.Join(quoted, " "))
	for _, r := range h.Asked() {
		fmt.Fprintf(&b, "> %s", r.Line)
		if r.IfMatch != "" {
			fmt.Fprintf(&b, " if-match %s", r.IfMatch)
		}
		if r.Body != "" {
			fmt.Fprintf(&b, " %s", strings.ReplaceAll(strings.TrimSpace(r.Body), "\n", "⏎"))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "exit code %d\n", res.Code)
	require.True(h.t, res.Stdout == "" || strings.HasSuffix(res.Stdout, "\n"), "the output does not end with a line: %q", res.Stdout)
	if res.Stderr != "" {
		b.WriteString("-- stderr --\n" + strings.TrimSuffix(res.Stderr, "\n") + "\n")
	}
	if res.Stdout != "" {
		b.WriteString("-- stdout --\n" + res.Stdout)
	}
	Golden(h.t, name+".txt", strings.ReplaceAll(b.String(), os.Getenv(remote.EnvURL), "http://hub"))
	return res
}
