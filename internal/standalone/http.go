package standalone

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/slipway-ci/slipway/provisioner"
)

// web serves what operators look at. It is there before the loop is.
type web struct {
	loop    atomic.Pointer[provisioner.Loop]
	server  *http.Server
	stopped chan struct{}
}

// listen opens the address. A default one that is taken is a warning, one that
// was asked for is an error.
func (c Config) listen(log hclog.Logger, registry *prom.Registry) (*web, error) {
	w := &web{stopped: make(chan struct{})}
	w.server = &http.Server{Handler: w.handler(registry), ReadHeaderTimeout: 10 * time.Second}
	if c.HTTPAddr == "off" {
		close(w.stopped)
		return w, nil
	}
	l, err := net.Listen("tcp", c.HTTPAddr)
	if err != nil {
		if c.httpAddrGiven {
			return nil, fmt.Errorf("SLIPWAY_HTTP_ADDR: %w", err)
		}
		log.Warn("no health and metrics: the default address is taken; set SLIPWAY_HTTP_ADDR", "address", c.HTTPAddr, "err", err)
		close(w.stopped)
		return w, nil
	}
	log.Info("health and metrics", "address", l.Addr().String())
	go func() {
		defer close(w.stopped)
		_ = w.server.Serve(l)
	}()
	return w, nil
}

// tryListen opens the address and closes it again.
func (c Config) tryListen(ctx context.Context) error {
	if c.HTTPAddr == "off" {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", c.HTTPAddr)
	if err != nil {
		return fmt.Errorf("SLIPWAY_HTTP_ADDR: %w", err)
	}
	return l.Close()
}

func (w *web) show(loop *provisioner.Loop) { w.loop.Store(loop) }

func (w *web) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		_ = w.server.Close()
	}
	<-w.stopped
}

func (w *web) handler(registry *prom.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(rw, "ok")
	})
	mux.HandleFunc("GET /readyz", w.ready)
	mux.HandleFunc("GET /debug/state", w.state)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// ready is 200 when work can be expected to flow, else 503; the body says why.
func (w *web) ready(rw http.ResponseWriter, _ *http.Request) {
	loop := w.loop.Load()
	if loop == nil {
		http.Error(rw, "starting: the service was not asked yet, or can't be", http.StatusServiceUnavailable)
		return
	}
	health := loop.Health()
	if !health.Ready() {
		rw.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = fmt.Fprintln(rw, health)
}

func (w *web) state(rw http.ResponseWriter, _ *http.Request) {
	loop := w.loop.Load()
	if loop == nil {
		http.Error(rw, "starting", http.StatusServiceUnavailable)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(rw)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(map[string]any{"health": loop.Health().Facets, "state": loop.State()})
}
