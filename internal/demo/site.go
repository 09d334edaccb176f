package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/internal/program"
)

const (
	engineTimeout = 10 * time.Second
	// pullTimeout is how long auto waits for an image before it goes without Docker.
	pullTimeout = 2 * time.Minute
	// BridgeNetwork is the engine's default network: every engine has it, and
	// nothing of it is to be cleaned up.
	BridgeNetwork = "bridge"
)

// site is where the demo's runners are to live.
type site struct {
	kind string
	why  string
	// listen is the address for the hub's runner routes; empty: the main listener does.
	listen string
	// open makes the backend of an owner. The caller calls close.
	open func(owner string) (b backend.Backend, close func() error, err error)
	// url is where the runners reach the hub.
	url func(h *hub.Hub) string
	// left says what stays of it when there is no clean-up, and how to clear it away.
	left func(owner string) string
}

// chooser finds the site.
type chooser struct {
	config   Config
	dir      string // for files
	programs *program.Finder
	say      func(format string, args ...any)
}

func (c *chooser) choose(ctx context.Context) (*site, error) {
	if c.config.Backend == BackendProcess {
		return c.process("as asked"), nil
	}
	auto := c.config.Backend == BackendAuto
	s, err := c.docker(ctx, auto)
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case auto:
		return c.process(err.Error()), nil
	}
	return nil, err
}

// process runs the runners as processes of this machine.
func (c *chooser) process(why string) *site {
	return &site{
		kind: BackendProcess, why: why,
		url:  (*hub.Hub).URL,
		left: func(string) string { return leftAsProcesses(c.dir) },
		open: func(owner string) (backend.Backend, func() error, error) {
			b, err := process.New(process.Config{
				Owner: owner, Dir: runnersDir(c.dir), Runner: []string{c.programs.Self, RunnerArgument},
				Logger: c.config.Logger.Named("process"),
			})
			return b, func() error { return nil }, err
		},
	}
}

// docker runs the runners in containers on the engine's default network, from
// where they reach the hub at the network's gateway: an address of this machine.
func (c *chooser) docker(ctx context.Context, auto bool) (*site, error) {
	s := &site{kind: BackendDocker, left: func(owner string) string { return leftOnDocker(c.dir, owner) }}
	s.open = func(owner string) (backend.Backend, func() error, error) {
		b, err := docker.New(docker.Config{
			Owner: owner, Network: BridgeNetwork, Runner: c.programs.Find, Logger: c.config.Logger,
		})
		if err != nil {
			return nil, nil, err
		}
		return b, b.Close, nil
	}
	opened, closeProbe, err := s.open("slipway-demo-probe")
	if err != nil {
		return nil, err
	}
	defer func() { _ = closeProbe() }()
	probe, ok := opened.(*docker.Backend)
	if !ok {
		return nil, errors.New("demo: no Docker backend")
	}
	if err := answers(ctx, probe); err != nil {
		return nil, fmt.Errorf("no Docker engine answers: %w", err)
	}
	if err := c.image(ctx, probe, auto); err != nil {
		return nil, err
	}
	if err := c.way(ctx, probe, s); err != nil {
		return nil, err
	}
	s.why = "an engine answers, and image " + c.config.Image + " is there"
	return s, nil
}

// answers asks the engine for the runners of an owner that has none.
func answers(ctx context.Context, b backend.Backend) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	_, err := b.List(ctx)
	return err
}

// image makes sure that the image is there, and that there is a runner program
// for it; the engine tells its platform only when a runner is made.
func (c *chooser) image(ctx context.Context, b *docker.Backend, auto bool) error {
	if auto {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, pullTimeout, fmt.Errorf("no answer within %s", pullTimeout))
		defer cancel()
	}
	c.say("looking for image %s", c.config.Image)
	err := b.Prepare(ctx, backend.Spec{Image: c.config.Image, PullPolicy: backend.PullIfNotPresent})
	if err != nil {
		return fmt.Errorf("image %s is not there and can't be pulled: %w", c.config.Image, err)
	}
	// The engine of a machine runs images of the machine's architecture, as a rule;
	// where it does not, the launch says so.
	_, err = c.programs.Find(ctx, "linux", runtime.GOARCH)
	return err
}

// way finds out how a container reaches the hub.
func (c *chooser) way(ctx context.Context, b *docker.Backend, s *site) error {
	if runtime.GOOS != "linux" {
		// The engine lives in a virtual machine, which passes this name on to us.
		s.url = func(h *hub.Hub) string { return atName("host.docker.internal", h.URL()) }
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	gateway, err := Gateway(ctx, b)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(gateway, 0).String())
	if err != nil {
		return fmt.Errorf("the gateway of the engine's network, %s, is no address of this machine: %w", gateway, err)
	}
	_ = l.Close()
	s.listen = netip.AddrPortFrom(gateway, 0).String()
	s.url = (*hub.Hub).RunnerURL
	return nil
}

// Gateway is the address at which the containers of b reach this machine. b must
// use the engine's default network.
func Gateway(ctx context.Context, b *docker.Backend) (netip.Addr, error) {
	gateway, err := b.Gateway(ctx)
	if err != nil { // engines leave it out for their default network until it is configured
		gateway, err = addressOf("docker0", err)
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the way from a container to this machine: %w", err)
	}
	return gateway, nil
}

// addressOf is the IPv4 address of a network device of this machine; without one
// it is err.
func addressOf(device string, err error) (netip.Addr, error) {
	found, missing := net.InterfaceByName(device)
	if missing != nil {
		return netip.Addr{}, err
	}
	addresses, _ := found.Addrs() // none, where they can't be read
	for _, a := range addresses {
		if prefix, bad := netip.ParsePrefix(a.String()); bad == nil && prefix.Addr().Is4() {
			return prefix.Addr(), nil
		}
	}
	return netip.Addr{}, err
}

// atName puts name in the place of an URL's host.
func atName(name, url string) string {
	_, port, err := net.SplitHostPort(url[len("http://"):])
	if err != nil {
		return url
	}
	return "http://" + net.JoinHostPort(name, port)
}
