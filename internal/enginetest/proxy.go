package enginetest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Fault says what a Proxy does with one request.
type Fault int

// The faults.
const (
	// Pass hands the request on.
	Pass Fault = iota
	// Lose hands it on, and cuts the connection instead of giving the answer.
	Lose
	// Drop cuts the connection before the engine has seen the request.
	Drop
	// Done says that the fault has answered by itself; see Answer.
	Done
)

// Proxy stands in front of the engine, on a socket of its own. It is closed with
// the test.
type Proxy struct {
	// Host is its address, for a Config.
	Host string

	socket  string
	handler http.Handler
	t       testing.TB

	mu     sync.Mutex
	server *http.Server
	served chan struct{}
	hang   chan struct{} // not nil: requests wait for its end
	fault  func(*http.Request) Fault
	answer func(http.ResponseWriter, *http.Request) Fault
	seen   []string
}

// NewProxy puts a proxy in front of the engine.
func NewProxy(t testing.TB) *Proxy {
	t.Helper()
	return NewProxyTo(t, Host(t))
}

// NewProxyTo puts a proxy in front of the engine at host.
func NewProxyTo(t testing.TB, host string) *Proxy {
	t.Helper()
	// Not t.TempDir: a socket's path has 108 bytes at most.
	folder, err := os.MkdirTemp("", "proxy")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	p := &Proxy{socket: filepath.Join(folder, "s"), t: t}
	p.Host = "unix://" + p.socket
	engine := transport(t, host)
	t.Cleanup(engine.CloseIdleConnections)
	p.handler = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "engine"}) },
		Transport:     engine,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.Mend()
	t.Cleanup(func() {
		p.Unhang()
		p.Cut()
	})
	return p
}

// Cut takes the engine away: connections break, and no new ones are taken.
func (p *Proxy) Cut() {
	p.mu.Lock()
	server, served := p.server, p.served
	p.server = nil
	p.mu.Unlock()
	if server == nil {
		return
	}
	_ = server.Close()
	<-served
}

// Mend gives the engine back.
func (p *Proxy) Mend() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return
	}
	_ = os.Remove(p.socket)
	listener, err := net.Listen("unix", p.socket)
	require.NoError(p.t, err)
	server, served := &http.Server{Handler: http.HandlerFunc(p.serve), ErrorLog: log.New(io.Discard, "", 0)}, make(chan struct{})
	p.server, p.served = server, served
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
}

// Hang lets requests in and answers none until Unhang.
func (p *Proxy) Hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hang == nil {
		p.hang = make(chan struct{})
	}
}

// Unhang goes on with those that hang.
func (p *Proxy) Unhang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hang != nil {
		close(p.hang)
		p.hang = nil
	}
}

// Fault sets what is done with requests from now on; nil passes all.
func (p *Proxy) Fault(fault func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// Answer sets what is asked before a request is handed on: a function that
// answers in the engine's stead, and says so by Done. Nil asks none.
func (p *Proxy) Answer(answer func(http.ResponseWriter, *http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// Refuse answers as an engine does that refuses.
func Refuse(w http.ResponseWriter, status int, words string) Fault {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"message":%q}`, words)
	return Done
}

// Seen returns the requests since the last call of Seen, as "METHOD path".
func (p *Proxy) Seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen = append(p.seen, r.Method+" "+r.URL.Path)
	hang, fault, answer := p.hang, p.fault, p.answer
	p.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	outcome := Pass
	if fault != nil {
		outcome = fault(r)
	}
	if outcome == Pass && answer != nil {
		outcome = answer(w, r)
	}
	switch outcome {
	case Done:
		return
	case Drop:
		panic(http.ErrAbortHandler)
	case Lose:
		// The engine is not told that the asker is gone.
		lost := r.Clone(context.WithoutCancel(r.Context()))
		p.handler.ServeHTTP(&nowhere{header: http.Header{}}, lost)
		panic(http.ErrAbortHandler)
	}
	p.handler.ServeHTTP(w, r)
}

// nowhere takes an answer that nobody gets.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}
