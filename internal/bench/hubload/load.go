package hubload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/hub/client"
)

// Config says what load to put on which hub.
type Config struct {
	// Program is slipway-hub: see Build. Required.
	Program string
	// Dir is an empty folder for the hub's data, its key and its log. Required; the
	// caller removes it.
	Dir string
	// Hosts is how many; 0 is none.
	Hosts int
	// Each is how many runners every host gets, in ScaleSets scale sets together;
	// defaults 20 and 10. Hosts times Each divides by ScaleSets.
	Each, ScaleSets int
	// Args are further flags of the hub.
	Args []string
}

func (c Config) withDefaults() Config {
	if c.Each == 0 {
		c.Each = 20
	}
	if c.ScaleSets == 0 {
		c.ScaleSets = 10
	}
	return c
}

// Load is a hub with its hosts. Make it with Open, and end it with Close.
type Load struct {
	config Config
	hub    *process
	http   *http.Client
	client *client.Client
	admin  string // the admin token
	stop   context.CancelFunc
	agents sync.WaitGroup
}

// parallel is how many hosts are added at once.
const parallel = 16

// Open starts a hub, adds and enrols the hosts, and runs their agents. They have
// no runners yet: see Fill.
func Open(ctx context.Context, config Config) (_ *Load, err error) {
	l := &Load{config: config.withDefaults(), stop: func() {}, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: parallel}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	// Launches don't wait for each other, so that filling takes no hour.
	l.config.Args = append([]string{"--launch-parallelism", "256"}, config.Args...)
	if l.hub, err = start(ctx, config.Program, config.Dir, "127.0.0.1:0", l.config.Args...); err != nil {
		return nil, err
	}
	l.admin = l.hub.admin
	if l.client, err = client.New(client.Config{URL: l.hub.url, Token: l.admin, HTTP: l.http}); err != nil {
		return nil, err
	}
	agents := make([]*agent.Agent, config.Hosts)
	group, own := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range agents {
		group.Go(func() (err error) {
			agents[i], err = l.newHost(own, fmt.Sprintf("host-%04d", i))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	for _, a := range agents {
		l.agents.Go(func() { _ = a.Run(running) }) // nil, when running ends
	}
	return l, nil
}

// Runners is how many there are to be.
func (l *Load) Runners() int { return l.config.Hosts * l.config.Each }

// Fill makes the scale sets, and waits until the loop has launched every runner.
func (l *Load) Fill(ctx context.Context) error {
	if l.Runners() == 0 {
		return nil
	}
	for i := range l.config.ScaleSets {
		n := l.Runners() / l.config.ScaleSets
		_, err := l.client.CreateScaleSet(ctx, client.NamedScaleSet{Name: fmt.Sprint("set-", i), ScaleSetSpec: client.ScaleSetSpec{
			Labels: []string{"linux", fmt.Sprint("set-", i)}, Image: "ghcr.io/example/runner:1", CPU: 2, Memory: "4GiB", Max: n, MinIdle: n,
			Selector: map[string]string{"pool": pool}, PerHostMax: l.config.Each, RegistrationDeadline: "24h", MaxLifetime: "24h",
		}})
		if err != nil {
			return fmt.Errorf("make scale set %d: %w", i, err)
		}
	}
	return l.Settle(ctx)
}

// Settle waits until the hub has all that there is to be: every host connected and
// its list taken over, every runner known to the fleet, and to the loop as running.
func (l *Load) Settle(ctx context.Context) error {
	for {
		now, err := l.look(ctx)
		if err == nil && now.ready == l.config.Hosts && now.held == l.Runners() && now.running == l.Runners() {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-l.hub.ended:
			return fmt.Errorf("slipway-hub has ended: see %s", l.hub.log.Name())
		case <-ctx.Done():
			return fmt.Errorf("wait for the hub: %w: %+v %w", ctx.Err(), now, err)
		}
	}
}

// Restart kills the hub as a power cut would, starts it again on the same address,
// and tells how long it took from the start until all was as it was. The agents
// are left alone.
func (l *Load) Restart(ctx context.Context) (took time.Duration, err error) {
	listen := l.hub.url[len("http://"):]
	if err := l.hub.kill(); err != nil {
		return 0, err
	}
	began := time.Now()
	if l.hub, err = start(ctx, l.config.Program, l.config.Dir, listen, l.config.Args...); err != nil {
		return 0, err
	}
	err = l.Settle(ctx)
	return time.Since(began), err
}

// Usage is what the hub's process has used.
func (l *Load) Usage() (Usage, error) { return l.hub.usage() }

// Log is the name of the hub's log.
func (l *Load) Log() string { return l.hub.log.Name() }

// Close ends agents and hub; the folder is left to the caller.
func (l *Load) Close() error {
	l.stop()
	l.agents.Wait()
	l.http.CloseIdleConnections()
	if l.hub == nil {
		return nil
	}
	err := l.hub.kill()
	if errors.Is(err, os.ErrClosed) { // it was killed before
		err = nil
	}
	return err
}
