package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/edge"
)

const (
	// bodyTimeout is how long a request's body may take to arrive. A ReadTimeout of
	// the server would end answers that take longer, such as a log that is followed.
	bodyTimeout = 2 * time.Minute
	// bridgeInterval is how often to look for container bridges that came or went.
	bridgeInterval = 2 * time.Second
	// quickRequests is how long a stop waits before it ends the requests that
	// wait for something to happen: long polls, logs that are followed.
	quickRequests = 500 * time.Millisecond
)

// servers are the two HTTP servers and what they listen on.
type servers struct {
	hub          *Hub
	all, runners *http.Server
	end          context.CancelFunc // ends the requests under way

	mu   sync.Mutex
	errs []error
	fail context.CancelFunc
	wait sync.WaitGroup
}

func (h *Hub) servers() (*servers, error) {
	all, runners, err := h.handlers()
	if err != nil {
		return nil, err
	}
	base, end := context.WithCancel(context.Background())
	server := func(handler http.Handler, encrypted bool) *http.Server {
		front := edge.Config{TrustedProxies: h.cfg.TrustedProxies, TLS: encrypted, Logger: h.log.Named("access")}
		return &http.Server{
			Handler:           edge.New(front, bodyDeadline(handler)),
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
			BaseContext:       func(net.Listener) context.Context { return base },
			ErrorLog:          h.log.Named("http").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		}
	}
	return &servers{hub: h, all: server(all, h.certificate != nil), runners: server(runners, false), end: end}, nil
}

// run serves until ctx ends or a listener fails.
func (s *servers) run(ctx context.Context) error {
	defer s.end()
	ctx, s.fail = context.WithCancel(ctx)
	defer s.fail()
	s.serve(s.all, s.hub.main, true)
	for _, l := range s.hub.runners {
		s.serve(s.runners, l, true)
	}
	for _, l := range s.hub.bridges.list() {
		s.serve(s.runners, l, false)
	}
	s.hub.log.Info("serving", "url", s.hub.URL(), "runner_url", s.hub.RunnerURL())
	s.followBridges(ctx)
	s.shutdown()
	s.wait.Wait()
	return errors.Join(s.errs...)
}

// serve serves one listener. One that may vanish, with its bridge, ends nothing else.
func (s *servers) serve(server *http.Server, l *listener, needed bool) {
	s.wait.Go(func() {
		var to net.Listener = l
		if l == s.hub.main && s.hub.certificate != nil {
			to = tls.NewListener(l, s.hub.certificate.config())
		}
		err := server.Serve(to)
		if errors.Is(err, http.ErrServerClosed) || !needed {
			return
		}
		s.mu.Lock()
		s.errs = append(s.errs, err)
		s.mu.Unlock()
		s.fail()
	})
}

// followBridges returns when ctx ends.
func (s *servers) followBridges(ctx context.Context) {
	if !s.hub.cfg.ContainerBridges {
		<-ctx.Done()
		return
	}
	ticks := time.NewTicker(bridgeInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			for _, l := range s.hub.bridges.follow(s.hub.port(), s.hub.log.Warn) {
				s.hub.log.Info("serving runners on a container bridge", "address", l.addr())
				s.serve(s.runners, l, false)
			}
		case <-ctx.Done():
			return
		}
	}
}

// shutdown takes no more connections, answers the requests under way, those that
// wait for something at once, and cuts off what is left after the timeout.
func (s *servers) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), s.hub.cfg.ShutdownTimeout)
	defer cancel()
	patience := time.AfterFunc(min(quickRequests, s.hub.cfg.ShutdownTimeout), s.end)
	defer patience.Stop()
	var both sync.WaitGroup
	for _, server := range []*http.Server{s.all, s.runners} {
		both.Go(func() {
			if server.Shutdown(ctx) != nil {
				_ = server.Close()
			}
		})
	}
	both.Wait()
}

// bodyDeadline bounds the reading of bodies, and nothing else.
func bodyDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			control := http.NewResponseController(w)
			_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // no deadline where there is no connection
			r.Body = &timedBody{ReadCloser: r.Body, read: func() { _ = control.SetReadDeadline(time.Time{}) }}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody calls read when the body is at its end.
type timedBody struct {
	io.ReadCloser
	read func()
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.read()
	}
	return n, err
}
