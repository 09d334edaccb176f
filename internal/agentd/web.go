package agentd

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/slipway-ci/slipway/internal/cli/command"
)

// web serves what operators look at.
type web struct {
	server  *http.Server
	stopped chan struct{}
}

// listen opens the address, where there is one.
func (p *program) listen() (*web, error) {
	w := &web{stopped: make(chan struct{})}
	if p.config.HTTPAddr == "off" {
		close(w.stopped)
		return w, nil
	}
	l, err := net.Listen("tcp", p.config.HTTPAddr)
	if err != nil {
		return nil, fmt.Errorf("--http-addr: %w", err)
	}
	w.server = &http.Server{Handler: p.handler(), ReadHeaderTimeout: 10 * time.Second}
	p.log.Info("health and metrics", "address", l.Addr().String())
	go func() {
		defer close(w.stopped)
		_ = w.server.Serve(l)
	}()
	return w, nil
}

func (w *web) close() {
	if w.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if w.server.Shutdown(ctx) != nil {
			_ = w.server.Close()
		}
	}
	<-w.stopped
}

func (p *program) handler() http.Handler {
	registry := prom.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{p})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", p.health)
	mux.HandleFunc("GET /readyz", p.ready)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = command.WriteJSON(w, p.report())
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// health is 200 while the agent does its work, whatever the hub and the engine do.
func (p *program) health(w http.ResponseWriter, _ *http.Request) {
	if !p.alive() {
		http.Error(w, "the looks at the engine hang", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// ready is 200 when runners can be started here, else 503; the body says why.
func (p *program) ready(w http.ResponseWriter, _ *http.Request) {
	now := p.report()
	switch {
	case now.Removed:
		http.Error(w, "the hub has removed this host", http.StatusServiceUnavailable)
	case !now.Connected:
		http.Error(w, "no session with "+now.Hub, http.StatusServiceUnavailable)
	case now.EngineProblem != "":
		http.Error(w, "the engine can't be seen: "+now.EngineProblem, http.StatusServiceUnavailable)
	default:
		_, _ = fmt.Fprintln(w, "connected to", now.Hub)
	}
}
