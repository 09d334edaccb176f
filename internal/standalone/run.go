package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/logsink"
	"github.com/slipway-ci/slipway/internal/version"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/prometheus"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
)

// Run runs the provisioner until ctx ends, then drains. reload has the log file
// opened anew and the template file read again, now. The log goes to stdout.
func (c Config) Run(ctx context.Context, reload <-chan os.Signal, stdout io.Writer) error {
	sink := logsink.New(stdout)
	defer sink.Close()
	log, file, err := c.logger(sink)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	again, stopReloads := reloads(reload, log, file)
	defer stopReloads()
	log.Info("starting", "version", version.String(), "api", c.APIURL, "backend", c.Backend, "templates", c.TemplatesFile)

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
	p, err := c.assemble(ctx, log, metrics)
	if err != nil {
		if ctx.Err() != nil {
			log.Info("stopped before the service had told who we are")
			return nil
		}
		log.Error("not started", "err", err)
		return err
	}
	defer p.close()
	web.show(p.loop)

	beside, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() { p.watchTemplates(beside, again) })
	others.Go(func() { p.warnOfStrangers(beside) })
	err = p.loop.Run(ctx)
	stop()
	others.Wait()
	log.Info("stopped")
	return err
}

// reloads opens the log file anew at each signal, from the start to the end, and
// hands the signal on to whoever reads the templates by then.
func reloads(reload <-chan os.Signal, log hclog.Logger, file *logFile) (again <-chan struct{}, stop func()) {
	handed, stopped := make(chan struct{}, 1), make(chan struct{})
	var one sync.WaitGroup
	one.Go(func() {
		for {
			select {
			case <-stopped:
				return
			case <-reload:
			}
			if err := file.reopen(); err != nil {
				log.Error("the log file can't be opened anew, the old one is written on", "file", file.path, "err", err)
			}
			select {
			case handed <- struct{}{}:
			default: // one is waiting already
			}
		}
	})
	return handed, func() {
		close(stopped)
		one.Wait()
	}
}

// program is what runs, put together.
type program struct {
	config  Config
	log     hclog.Logger
	control *shipfox.ControlPlane
	backend closer
	loop    *provisioner.Loop
	sheet   sheet // the template file
	unasked bool  // the service could not be asked about what it holds
}

func (p *program) close() { _ = p.backend.Close() }

// assemble asks the service who we are and puts the loop together.
func (c Config) assemble(ctx context.Context, log hclog.Logger, metrics provisioner.Metrics) (*program, error) {
	p := &program{config: c, log: log}
	data, read, err := readSheet(c.TemplatesFile)
	if err != nil {
		return nil, err
	}
	p.sheet = read
	templates, warnings, err := c.parse(data)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		log.Warn(w.String())
	}
	if p.control, err = c.controlPlane(log); err != nil {
		return nil, err
	}
	identity, err := identify(ctx, p.control, log)
	if err != nil {
		return nil, rejected(err)
	}
	if err := p.control.CheckTemplates(ctx, templates); err != nil {
		return nil, err
	}
	generation, err := p.control.Generation(ctx)
	if err != nil {
		return nil, err
	}
	log.Info("this provisioner", "id", identity.ID, "scope", identity.Scope, "workspace", identity.Workspace, "generation", generation)
	if p.backend, err = c.backend(identity.ID, generation, log); err != nil {
		return nil, err
	}
	p.loop, err = provisioner.New(provisioner.Config{
		ControlPlane: c.demand(p.control), Backend: p.backend, Templates: templates, Logger: log, Metrics: metrics, Limits: c.limits(),
	})
	if err != nil {
		return nil, errors.Join(err, p.backend.Close())
	}
	return p, nil
}

// rejected says what to do about a token that is refused.
func rejected(err error) error {
	if errors.Is(err, provisioner.ErrUnauthorized) {
		return fmt.Errorf("the service refuses the token (%w): check SHIPFOX_PROVISIONER_TOKEN and SHIPFOX_API_URL", err)
	}
	return err
}

// warnOfStrangers counts runners of other owners on the engine, once, as soon as
// it answers: they are not touched, and take room.
func (p *program) warnOfStrangers(ctx context.Context) {
	d, ok := p.backend.(*docker.Backend)
	if !ok {
		return
	}
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		n, err := d.Strangers(ctx)
		if err == nil {
			if n > 0 {
				p.log.Warn("there are runners of other provisioners on this engine: they are left alone; --adopt-owner takes over those of a former token", "count", n)
			}
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
