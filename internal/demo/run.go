package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/plane"
	"github.com/slipway-ci/slipway/internal/program"
	"github.com/slipway-ci/slipway/internal/signals"
	"github.com/slipway-ci/slipway/provisioner"
)

// cleanTimeout bounds the clean-up. It does not heed the caller's ctx.
const cleanTimeout = time.Minute

// Run shows the demo. It returns nil when every job succeeded and nothing is left
// behind; an error names the first job that did not, or what went wrong. When
// ctx ends it cleans up and returns the cause.
func Run(ctx context.Context, config Config) (err error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, config.Timeout, fmt.Errorf("not done after %s", config.Timeout))
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	dir, err := os.MkdirTemp("", "slipway-demo-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	signals.Leaving(ctx, func() string { return leftBehind(dir, "", "") })
	defer signals.Leaving(ctx, nil)
	show := newShow(config)
	show.broken = fail // nobody reads any more
	d := &demo{config: config, dir: dir, show: show}
	err = errors.Join(d.run(ctx), d.clean(ctx))
	unwritten := show.close()
	if d.submitted {
		show.say("%d of %d jobs succeeded", d.succeeded, config.Jobs)
		unwritten = show.err()
	}
	if errors.Is(err, errNoReader) { // it has ended the rest, and is told as the reason
		return err
	}
	return errors.Join(err, unwritten)
}

// demo is one run.
type demo struct {
	config Config
	dir    string
	show   *show
	site   *site

	hub          *hub.Hub
	backend      backend.Backend
	closeBackend func() error
	loop         *provisioner.Loop
	// What runs in the background, and how to end it.
	hubDone, loopDone chan error
	stopHub, stopLoop context.CancelFunc

	submitted bool // all of the jobs
	succeeded int
}

// because is err, or why ctx has ended: what fails then fails for that.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (d *demo) run(ctx context.Context) error {
	if err := d.open(ctx); err != nil {
		return because(ctx, err)
	}
	d.start(ctx)
	watched, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// A part that ends before its time ends the demo.
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop(nil)
	for name, done := range map[string]chan error{"hub": d.hubDone, "loop": d.loopDone} {
		parts.Go(func() {
			select {
			case err := <-done:
				done <- err // for the clean-up
				stop(fmt.Errorf("the %s ended: %w", name, err))
			case <-watched.Done():
			}
		})
	}
	jobs, err := d.submit(watched)
	if err != nil {
		return because(watched, err)
	}
	d.submitted = true
	return d.follow(watched, jobs)
}

// open opens everything, and starts nothing.
func (d *demo) open(ctx context.Context) error {
	path, err := program.Self()
	if err != nil {
		return err
	}
	c := &chooser{config: d.config, dir: d.dir, say: d.show.say, programs: &program.Finder{Dir: d.dir, Self: path, Say: d.show.say}}
	if d.site, err = c.choose(ctx); err != nil {
		return err
	}
	d.show.say("backend %s: %s", d.site.kind, oneLine(d.site.why))
	hubConfig := hub.Config{
		DataDir: filepath.Join(d.dir, "hub"), Listen: "127.0.0.1:0", Logger: d.config.Logger.Named("hub"),
		// It lives for seconds: what a full disk forbids is not forbidden here.
		MinFree: 1 << 20, MinFreePercent: 0.01, Reserve: 64 << 10,
		ShutdownTimeout: 2 * time.Second,
	}
	if d.site.listen != "" {
		hubConfig.RunnerListen = []string{d.site.listen}
	}
	if d.hub, err = hub.Open(ctx, hubConfig); err != nil {
		return err
	}
	plane, err := plane.New(ctx, d.hub.Queue(), plane.Config{
		Name: "demo", RunnerURL: d.site.url(d.hub), ProviderKind: d.site.kind, PollMaxDuration: time.Minute,
	})
	if err != nil {
		return err
	}
	identity, err := plane.Identify(ctx)
	if err != nil {
		return err
	}
	d.config.owned(identity.ID)
	left := d.site.left
	signals.Leaving(ctx, func() string { return left(identity.ID) })
	if d.backend, d.closeBackend, err = d.site.open(identity.ID); err != nil {
		return err
	}
	d.loop, err = provisioner.New(provisioner.Config{
		ControlPlane: plane, Backend: d.backend, Templates: templates(d.config.Image), Logger: d.config.Logger.Named("loop"),
		DrainTimeout: 5 * time.Second,
	})
	return err
}

// start runs the hub and the loop until the clean-up ends them.
func (d *demo) start(ctx context.Context) {
	background := context.WithoutCancel(ctx)
	run := func(part func(context.Context) error) (chan error, context.CancelFunc) {
		own, stop := context.WithCancel(background)
		done := make(chan error, 1)
		go func() { done <- part(own) }()
		return done, stop
	}
	d.hubDone, d.stopHub = run(d.hub.Run)
	d.loopDone, d.stopLoop = run(d.loop.Run)
	d.show.say("hub at %s, its data in %s", d.hub.URL(), d.dir)
}

func (d *demo) submit(ctx context.Context) ([]queue.Job, error) {
	var jobs []queue.Job
	for _, spec := range specs(d.config.Jobs) {
		job, err := d.hub.Queue().Submit(ctx, spec)
		if err != nil {
			return nil, fmt.Errorf("submit job %s: %w", spec.Name, err)
		}
		jobs = append(jobs, job)
	}
	d.show.jobs(jobs)
	return jobs, nil
}

// stuck says why jobs do not get on, as far as the loop knows.
func (d *demo) stuck() string {
	if d.loop == nil {
		return ""
	}
	if health := d.loop.Health().String(); health != "ok" {
		return ": " + oneLine(health)
	}
	return ""
}

// clean ends the loop, then the runners, then the hub, and deletes the folder.
func (d *demo) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	var errs []error
	if d.stopLoop != nil {
		d.stopLoop()
		errs = append(errs, <-d.loopDone)
	}
	if d.backend != nil {
		if err := removeAll(ctx, d.backend); err != nil {
			errs = append(errs, fmt.Errorf("remove runners: %w", err))
		}
		errs = append(errs, d.closeBackend())
	}
	switch {
	case d.stopHub != nil:
		d.stopHub()
		errs = append(errs, <-d.hubDone)
	case d.hub != nil:
		errs = append(errs, d.hub.Close())
	}
	errs = append(errs, os.RemoveAll(d.dir))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

// removeAll removes every runner of the owner, and looks until there is none.
func removeAll(ctx context.Context, b backend.Backend) error {
	for {
		listing, err := b.List(ctx)
		if err != nil || len(listing.Runners) == 0 {
			return err
		}
		errs := make([]error, len(listing.Runners))
		var all sync.WaitGroup
		for i, r := range listing.Runners {
			all.Go(func() { errs[i] = b.Remove(ctx, r.ID) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
}

// oneLine is text on one line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
