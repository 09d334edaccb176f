package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/demo"
	"github.com/slipway-ci/slipway/internal/program"
	"github.com/slipway-ci/slipway/internal/signals"
	"github.com/slipway-ci/slipway/tokens"
)

// openEngine opens the engine as a new owner. find tells the runner program.
func openEngine(find func(ctx context.Context, system, arch string) (string, error)) (*docker.Backend, error) {
	return docker.New(docker.Config{Owner: "slipway-doctor-" + uuid.NewString(), Network: demo.BridgeNetwork, Runner: find})
}

// engine asks the Docker engine for an answer.
func (v *visit) engine(ctx context.Context) (Result, string) {
	b, err := openEngine(nil)
	if err != nil {
		return Fail, fmt.Sprintf("what DOCKER_HOST and its like say is no engine's address: %v", err)
	}
	defer func() { _ = b.Close() }()
	if _, err := b.List(ctx); err != nil {
		return Warn, fmt.Sprintf("no Docker engine answers (%v): runners can be processes of this machine only, which isolates nothing", err)
	}
	v.engineUp = true
	return OK, "a Docker engine answers"
}

// way has a runner in a container say hello to the hub, which is what it does
// first, and nothing more: its token is good for nothing. Where no hub answers a
// listener of our own stands in, on the network's gateway.
func (v *visit) way(ctx context.Context) (Result, string) {
	if !v.engineUp {
		return Skip, "there is no engine"
	}
	dir, err := os.MkdirTemp("", "slipway-doctor-")
	if err != nil {
		return Skip, err.Error()
	}
	defer func() { _ = os.RemoveAll(dir) }()
	self, err := program.Self()
	if err != nil {
		return Skip, err.Error()
	}
	programs := &program.Finder{Self: self, Dir: dir, Say: func(string, ...any) {}}
	b, err := openEngine(programs.Find)
	if err != nil {
		return Skip, err.Error()
	}
	defer func() { _ = b.Close() }()
	spec := backend.Spec{Image: v.config.Image, PullPolicy: backend.PullNever, InjectRunner: true}
	if err := b.Prepare(ctx, spec); err != nil {
		return Skip, fmt.Sprintf("image %s is not here: docker pull it, or name another with --image", v.config.Image)
	}
	url, end, err := v.target(ctx, b)
	if err != nil {
		return Skip, err.Error()
	}
	defer end()
	spec.Env = map[string]string{
		"SHIPFOX_API_URL": url, "SHIPFOX_RUNNER_REGISTRATION_TOKEN": tokens.New(tokens.EphemeralRegistration).Reveal(),
		"SHIPFOX_RUNNER_LABELS": "doctor", "SHIPFOX_POLL_MAX_DURATION_MS": "5000",
	}
	said, err := v.inContainer(ctx, b, spec)
	switch {
	case err != nil:
		return Warn, fmt.Sprintf("a container of image %s could not be run: %v", v.config.Image, err)
	case strings.Contains(said, "slipway-runner: register: "): // hello was answered
		return OK, "a container on the default network reaches the hub at " + url
	}
	return Fail, fmt.Sprintf("a container on the default network does not reach the hub at %s: look at the firewall, or tell slipway-hub a --runner-url or a --runner-listen that containers reach (%s)",
		url, lastLine(said))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// target is the URL of the hub. end ends the listener that stands in for one.
func (v *visit) target(ctx context.Context, b *docker.Backend) (url string, end func(), err error) {
	switch {
	case v.info != nil:
		return v.info.RunnerURL, func() {}, nil
	case v.hubUp:
		return "", nil, errors.New("where the hub serves runners is told to admins alone: set SLIPWAY_TOKEN")
	}
	gateway, err := demo.Gateway(ctx, b)
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(gateway, 0).String())
	if err != nil {
		return "", nil, fmt.Errorf("the gateway of the engine's network, %s, is no address of this machine: %w", gateway, err)
	}
	server := &http.Server{ReadHeaderTimeout: v.config.Patience, Handler: http.HandlerFunc(standIn)}
	done := make(chan struct{})
	go func() {
		defer func() { done <- struct{}{} }()
		_ = server.Serve(l) // it ends with Close
	}()
	return "http://" + l.Addr().String(), func() {
		_ = server.Close()
		<-done
	}, nil
}

// standIn answers as a hub that lets nobody in.
func standIn(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/api/v1/runner/hello" { // docs/runner-api.md
		_, _ = io.WriteString(w, `{"product": "slipway", "protocol": 1}`)
		return
	}
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"code": "unauthorized"}`)
}

// inContainer runs a container to its end and returns what it printed. The
// container is gone when it returns.
func (v *visit) inContainer(ctx context.Context, b *docker.Backend, spec backend.Spec) (output string, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	spec.ID = id.String()
	signals.Leaving(ctx, func() string { return "left behind: a container; clear it away with: docker rm -fv slipway-" + spec.ID })
	defer signals.Leaving(ctx, nil)
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 6*v.config.Patience)
		defer cancel()
		err = errors.Join(err, b.Remove(clean, spec.ID))
	}()
	if err := b.Launch(ctx, spec); err != nil && !errors.Is(err, backend.ErrExists) {
		return "", err
	}
	looks := time.NewTicker(100 * time.Millisecond)
	defer looks.Stop()
	for {
		listing, err := b.List(ctx)
		if err != nil {
			return "", err
		}
		if len(listing.Runners) == 1 && listing.Runners[0].State.Ended() {
			break
		}
		select {
		case <-looks.C:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	logs, err := b.Logs(ctx, spec.ID, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = logs.Close() }()
	text, err := io.ReadAll(io.LimitReader(logs, 4096))
	return string(text), err
}
