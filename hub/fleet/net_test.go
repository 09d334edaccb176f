package fleet_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/hub/fleet"
)

// wires is a network of in-memory pipes with one server, and a hand to cut it.
type wires struct {
	accepts chan net.Conn
	closed  chan struct{}
	once    sync.Once

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// address is net.Listener's.
type address struct{}

func (address) Network() string { return "memory" }
func (address) String() string  { return "memory" }

func (w *wires) Addr() net.Addr { return address{} }
func (w *wires) Close() error   { w.once.Do(func() { close(w.closed) }); return nil }
func (w *wires) Accept() (net.Conn, error) {
	select {
	case conn := <-w.accepts:
		return conn, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wires) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return nil, errors.New("the network is cut")
	}
	ours, theirs := net.Pipe()
	select {
	case w.accepts <- theirs:
	case <-w.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.conns[ours] = true
	return ours, nil
}

// drop breaks the connections there are; with cut there will be no new ones.
func (w *wires) drop(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for conn := range w.conns {
		conn.Close()
	}
	clear(w.conns)
}

func (w *wires) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

// hub is a fleet that runs behind an HTTP server on wires.
type hub struct {
	*fleet.Fleet
	*wires
	stop func()
}

func startHub(t *testing.T, config fleet.Config) *hub {
	t.Helper()
	f, err := fleet.New(config)
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{Fleet: f, wires: &wires{accepts: make(chan net.Conn), closed: make(chan struct{}), conns: map[net.Conn]bool{}}}
	mux := http.NewServeMux()
	mux.Handle(fleet.Path, f.Handler())
	server := &http.Server{Handler: mux}
	ctx, cancel := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() { _ = server.Serve(h.wires) })
	ran.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Errorf("run the fleet: %v", err)
		}
	})
	h.stop = sync.OnceFunc(func() {
		cancel()
		_ = server.Close()
		h.drop(true)
		ran.Wait()
	})
	t.Cleanup(h.stop)
	return h
}
