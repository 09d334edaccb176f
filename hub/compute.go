package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/install"
	"github.com/slipway-ci/slipway/hub/queue/plane"
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
)

// compute is what launches runners: the hosts as a fleet, and one loop over it for
// each control plane.
type compute struct {
	log       hclog.Logger
	hosts     *hosts.Registry
	scaleSets *scalesets.Registry
	fleet     *fleet.Fleet
	loops     map[string]*provisioner.Loop // by plane
	// runnersAt is where the runners of each plane reach it.
	runnersAt map[string]func() string
	// followRunners stores the events of runners until its context ends.
	followRunners func(context.Context) error
	// unwant has the queue know that runners are to end, and why.
	unwant  func(ctx context.Context, runners []string, reason string) error
	foreign provisioner.ControlPlane // the Shipfox API's, or nil

	mu      sync.Mutex
	problem map[string]string // by plane: why its loop does not run
}

func (h *Hub) openCompute(ctx context.Context) error {
	c := &compute{log: h.log.Named("compute"), loops: map[string]*provisioner.Loop{}, runnersAt: map[string]func() string{}, problem: map[string]string{}}
	c.unwant = func(ctx context.Context, runners []string, reason string) error {
		return h.guard.Do(func() error { return h.queue.Unwant(ctx, runners, reason) })
	}
	var err error
	c.hosts, err = hosts.New(ctx, hosts.Config{
		Store: h.store, Queue: h.queue, PublicURL: h.cfg.PublicURL, InsecureHTTP: h.cfg.InsecureHTTP,
		Agents: func() []string { return install.Versions(h.cfg.AgentsDir) },
		Events: h.events.Tell, Logger: h.log.Named("hosts"),
	})
	if errors.Is(err, hosts.ErrConfig) {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	} else if err != nil {
		return err
	}
	c.scaleSets, err = scalesets.New(ctx, scalesets.Config{
		Store: h.store, Hosts: c.hosts, Vault: h.vault, DefaultImage: h.cfg.DefaultImage, AllowedBinds: h.cfg.AllowedBinds,
		Events: h.events.Tell, Logger: h.log.Named("scalesets"),
	})
	if err != nil {
		return err
	}
	c.fleet, err = fleet.New(fleet.Config{
		Authenticate: c.hosts.Authenticate, Store: c.hosts.Records(), Heartbeat: h.cfg.Heartbeat, LostAfter: h.cfg.LostAfter,
		SealKey: h.vault.Derive("runners on hosts"), Credential: c.scaleSets.Credential, Sessions: c.session, Logger: h.log.Named("fleet"),
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c.followRunners = func(ctx context.Context) error { return h.events.FollowRunners(ctx, c.fleet) }
	if !h.cfg.LocalAgentToken.IsZero() {
		if _, err := c.hosts.LocalAgent(ctx, h.cfg.LocalAgentToken, hosts.LocalName); err != nil {
			return err
		}
	}
	if err := c.hosts.Bind(ctx, c.fleet); err != nil {
		return err
	}
	c.hosts.BindTerminator(c)
	if err := c.place(ctx); err != nil {
		return err
	}
	h.compute = c
	return nil
}

// openLoops makes the loops, once it is known where runners reach the hub.
func (h *Hub) openLoops(ctx context.Context) error {
	c := h.compute
	own, err := plane.New(ctx, h.queue, plane.Config{
		Name: "fleet", RunnerAt: h.runnerURLForHosts, ProviderKind: "fleet", MaxLifetime: h.cfg.RunnerMaxLifetime,
	})
	if err != nil {
		return err
	}
	c.runnersAt[scalesets.ControlPlaneQueue] = h.runnerURLForHosts
	if err := c.openLoop(ctx, scalesets.ControlPlaneQueue, own, h); err != nil {
		return err
	}
	if h.cfg.Shipfox.URL == "" {
		return nil
	}
	foreign, err := shipfox.New(shipfox.Config{
		URL: h.cfg.Shipfox.URL, RunnerURL: h.cfg.Shipfox.RunnerURL, Token: h.cfg.Shipfox.Token, ProviderKind: "fleet",
		MaxLifetime: h.cfg.RunnerMaxLifetime, Logger: h.log.Named("shipfox"),
	})
	if err != nil {
		return fmt.Errorf("%w: Shipfox: %w", ErrConfig, err)
	}
	c.foreign = foreign
	c.runnersAt[scalesets.ControlPlaneShipfox] = func() string { return cmp.Or(h.cfg.Shipfox.RunnerURL, h.cfg.Shipfox.URL) }
	return c.openLoop(ctx, scalesets.ControlPlaneShipfox, foreign, h)
}

func (c *compute) openLoop(ctx context.Context, plane string, control provisioner.ControlPlane, h *Hub) error {
	templates, err := c.scaleSets.Templates(ctx, plane)
	if err != nil {
		return err
	}
	metrics, err := h.metrics.loop(plane)
	if err != nil {
		return err
	}
	limits := provisioner.Limits{LaunchParallelism: h.cfg.LaunchParallelism}
	if plane == scalesets.ControlPlaneQueue {
		limits.KeepAlive = queueKeepAlive
	}
	if h.cfg.RunnerMaxLifetime > 0 {
		limits.MaxLifetime = h.cfg.RunnerMaxLifetime + time.Minute
	}
	loop, err := provisioner.New(provisioner.Config{
		ControlPlane: control, Backend: c.fleet.View(plane), Templates: templates, Limits: limits,
		Logger: h.log.Named("loop").With("control_plane", plane), Metrics: metrics, DrainTimeout: h.cfg.DrainTimeout,
		SoleOwner: true, // by the lock on the data folder
		Ended:     h.events.Ended,
	})
	if err != nil {
		return err
	}
	c.loops[plane] = loop
	return nil
}

// queueKeepAlive is how often the hub's own queue is told again of runners that
// live on. It knows them by itself, and forgets those that it has not heard of for
// a day: to write thousands of rows every half a minute would be for nothing.
const queueKeepAlive = 10 * time.Minute

// runnerURLForHosts is where runners on other hosts reach the hub.
func (h *Hub) runnerURLForHosts() string {
	if h.cfg.RunnerURL != "" {
		return h.cfg.RunnerURL
	}
	if u, err := url.Parse(h.cfg.PublicURL); err == nil && u.Host != "" && !loopback(u.Hostname()) {
		return h.cfg.PublicURL
	}
	return h.RunnerURL()
}

// session takes in what the fleet tells of agents.
func (c *compute) session(e fleet.SessionEvent) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	c.hosts.Session(ctx, e)
}

// writeTimeout bounds one write that nobody waits for.
const writeTimeout = 10 * time.Second

// place tells the fleet where scale sets may go.
func (c *compute) place(ctx context.Context) error {
	placements, err := c.scaleSets.Placements(ctx)
	if err != nil {
		return err
	}
	if placements == nil {
		placements = map[string]fleet.Placement{}
	}
	c.fleet.SetPlacements(placements)
	return nil
}

// follow applies every change of the scale sets, at once.
func (c *compute) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.scaleSets.Changed():
		}
		if err := c.apply(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("apply scale sets", "err", err)
		}
	}
}

// apply puts placements first: a new scale set without them would find no host.
func (c *compute) apply(ctx context.Context) error {
	if err := c.place(ctx); err != nil {
		return err
	}
	for plane, loop := range c.loops {
		templates, err := c.scaleSets.Templates(ctx, plane)
		if err == nil {
			err = loop.SetTemplates(templates)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Retire ends runners as soon as they have no job. One on a host that is away is
// looked at when the host is back.
func (c *compute) Retire(runners []string, reason string) {
	for _, loop := range c.loops {
		loop.Retire(runners, reason)
	}
}

// Terminate ends runners, as an operator asks: those that a loop sees by its own
// order, report included; those on a host that is away by the fleet's, which
// remembers it until the host is back.
//
// The queue is told first: so the reason is that of the jobs, too, and what a restart
// of the hub finds undone is done then.
func (c *compute) Terminate(runners []string, reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	if err := c.unwant(ctx, runners, reason); err != nil {
		c.log.Error("note why runners end", "reason", reason, "err", err)
	}
	for _, loop := range c.loops {
		loop.Terminate(runners, reason)
	}
	listing, err := c.fleet.List(ctx)
	if err != nil {
		return // it does not run
	}
	asked := map[string]bool{}
	for _, id := range runners {
		asked[id] = true
	}
	for _, r := range listing.Runners {
		switch {
		case !asked[r.ID]:
		case r.State == backend.Unknown:
			err := c.fleet.Remove(ctx, r.ID) // not awaited: it is done on the host's return
			c.log.Info("the runner is removed when its host is back", "runner", r.ID, "host", r.Host, "reason", reason, "told", err)
		case r.State == backend.Failed: // the loop keeps it for a post-mortem
			err := c.fleet.Remove(ctx, r.ID)
			c.log.Info("the failed runner is removed", "runner", r.ID, "host", r.Host, "reason", reason, "err", err)
		}
	}
}

// run runs all of it until ctx ends. The loops drain while agents are still
// connected; only then the fleet ends. It calls fail when a part can't go on.
func (c *compute) run(ctx context.Context, fail func()) error {
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var failure error
	var under, over sync.WaitGroup
	under.Go(func() {
		if err := c.fleet.Run(inner); err != nil && inner.Err() == nil {
			failure = err
			fail()
		}
	})
	under.Go(func() { _ = c.hosts.Run(inner) })
	under.Go(func() { c.follow(inner) })
	under.Go(func() {
		select { // what a fleet that is not there yet does not tell is not gone
		case <-c.fleet.Opened():
			_ = c.followRunners(inner)
		case <-inner.Done():
		}
	})
	select {
	case <-c.fleet.Opened():
		for plane, loop := range c.loops {
			over.Go(func() { c.runLoop(ctx, plane, loop) })
		}
		<-ctx.Done()
	case <-ctx.Done():
	}
	over.Wait()
	stop()
	under.Wait()
	return failure
}

// runLoop runs one loop. That of a service of others begins when the service has
// told who we are; a hub whose service is away, or refuses, serves the rest.
func (c *compute) runLoop(ctx context.Context, plane string, loop *provisioner.Loop) {
	for pause := time.Second; plane == scalesets.ControlPlaneShipfox; pause = min(2*pause, time.Minute) {
		identity, err := c.foreign.Identify(ctx)
		if err == nil {
			c.say(plane, "")
			c.log.Info("provisioner of the Shipfox API", "provisioner", identity.ID)
			break
		}
		if ctx.Err() != nil {
			return
		}
		c.say(plane, err.Error())
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
	if err := loop.Run(ctx); err != nil {
		c.say(plane, err.Error())
	}
}

// say notes why a plane's loop does not run; a repeat is not logged again.
func (c *compute) say(plane, problem string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if problem != "" && c.problem[plane] != problem {
		c.log.Warn("control plane", "control_plane", plane, "err", problem)
	}
	c.problem[plane] = problem
}

// planes tells of each control plane why its loop gets no jobs; empty: it does.
func (c *compute) planes() map[string]string {
	out := map[string]string{}
	c.mu.Lock()
	for plane := range c.loops {
		out[plane] = c.problem[plane]
	}
	c.mu.Unlock()
	for plane, loop := range c.loops {
		// Without scale sets it asks for no jobs, and nothing is wrong with that.
		if health := loop.Health(); out[plane] == "" && !health.Ready() && len(loop.State().Templates) > 0 {
			out[plane] = health.String()
		}
	}
	return out
}
