package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/version"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/prometheus"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
)

// logger opens the log. close flushes nothing: lines are written as they come.
func (c Config) logger(stderr io.Writer) (hclog.Logger, func(), error) {
	out, closeFile := stderr, func() {}
	if c.LogFile != "" {
		f, err := os.OpenFile(c.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("LOG_FILE: %w", err)
		}
		out, closeFile = f, func() { _ = f.Close() }
	}
	log := hclog.New(&hclog.LoggerOptions{Name: "provisioner", Output: out, Level: hclog.LevelFromString(c.LogLevel), JSONFormat: !c.LogPretty})
	for _, w := range c.Warnings {
		log.Warn(w)
	}
	return log, closeFile, nil
}

// Run runs the provisioner until ctx ends, then drains. reload has the template
// file read again, now.
func (c Config) Run(ctx context.Context, reload <-chan os.Signal, stderr io.Writer) error {
	log, closeLog, err := c.logger(stderr)
	if err != nil {
		return err
	}
	defer closeLog()
	log.Info("starting", "version", version.Version, "api", c.APIURL, "backend", c.Backend, "templates", c.TemplatesFile)

	registry := prom.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics, err := prometheus.New(prometheus.Config{Registerer: registry})
	if err != nil {
		return err
	}
	web, err := c.listen(log, registry)
	if err != nil {
		return err
	}
	defer web.close()
	loop, done, err := c.assemble(ctx, log, metrics)
	if err != nil {
		return err
	}
	defer done()
	web.show(loop)

	watching, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.watchTemplates(watching, loop, reload, log)
	}()
	err = loop.Run(ctx)
	stop()
	<-watched
	return err
}

// assemble asks the service who we are and puts the loop together.
func (c Config) assemble(ctx context.Context, log hclog.Logger, metrics provisioner.Metrics) (*provisioner.Loop, func(), error) {
	templates, warnings, err := c.templates()
	if err != nil {
		return nil, nil, err
	}
	for _, w := range warnings {
		log.Warn(w.String())
	}
	control, err := c.controlPlane(log)
	if err != nil {
		return nil, nil, err
	}
	identity, err := identify(ctx, control, log)
	if err != nil {
		return nil, nil, rejected(err)
	}
	if err := control.CheckTemplates(ctx, len(templates)); err != nil {
		return nil, nil, err
	}
	generation, err := control.Generation(ctx)
	if err != nil {
		return nil, nil, err
	}
	log.Info("this provisioner", "id", identity.ID, "scope", identity.Scope, "workspace", identity.Workspace, "generation", generation)
	b, err := c.backend(identity.ID, generation, log)
	if err != nil {
		return nil, nil, err
	}
	warnOfStrangers(ctx, b, log)
	loop, err := provisioner.New(provisioner.Config{
		ControlPlane: control, Backend: b, Templates: templates, Logger: log, Metrics: metrics, Limits: c.limits(),
	})
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	return loop, func() { _ = b.Close() }, nil
}

// rejected says what to do about a token that is refused.
func rejected(err error) error {
	if errors.Is(err, provisioner.ErrUnauthorized) {
		return fmt.Errorf("the service refuses the token (%w): check SHIPFOX_PROVISIONER_TOKEN and SHIPFOX_API_URL", err)
	}
	return err
}

// warnOfStrangers counts runners of other owners on the engine, once: they are
// not touched, and take room.
func warnOfStrangers(ctx context.Context, b any, log hclog.Logger) {
	d, ok := b.(*docker.Backend)
	if !ok {
		return
	}
	if n, err := d.Strangers(ctx); err == nil && n > 0 {
		log.Warn("there are runners of other provisioners on this engine: they are left alone; --adopt-owner takes over those of a former token", "count", n)
	}
}

// Check tries all that a start needs and says what it found.
func (c Config) Check(ctx context.Context, stdout io.Writer) error {
	var errs []error
	say := func(what string, err error, detail string) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
			return
		}
		_, _ = fmt.Fprintf(stdout, "%s: %s\n", what, detail)
	}
	for _, w := range c.Warnings {
		_, _ = fmt.Fprintln(stdout, "warning:", w)
	}
	templates, _, err := c.templates()
	say("templates", err, fmt.Sprintf("%d in %s", len(templates), c.TemplatesFile))

	owner, generation := "check", shipfox.Head
	control, err := c.controlPlane(hclog.NewNullLogger())
	if err == nil {
		var identity provisioner.Identity
		if identity, err = control.Identify(ctx); err == nil {
			owner = identity.ID
			if generation, err = control.Generation(ctx); err == nil {
				err = control.CheckTemplates(ctx, len(templates))
			}
		}
	}
	say("token", rejected(err), fmt.Sprintf("accepted by %s, generation %s", c.APIURL, generation))

	b, err := c.backend(owner, generation, hclog.NewNullLogger())
	if err == nil {
		_, err = b.List(ctx)
		err = errors.Join(err, b.Close())
	}
	say("backend", err, c.Backend+" answers")
	return errors.Join(errs...)
}
