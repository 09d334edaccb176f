package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file"
)

// lifetimeGrace is how long after its own limit a runner is removed.
const lifetimeGrace = time.Minute

// Tests that wait for these set less.
var (
	// registrationGrace is how much longer than the reservation a runner has until
	// it must be registered.
	registrationGrace = 30 * time.Second
	// leastLaunchDeadline is how long a launch may be uncertain, and a container
	// created and not started, at the least: longer than one launch may take.
	leastLaunchDeadline = 30 * time.Second
	// factsInterval is how often the service is asked what it knows of runners. Polls
	// tell of intents; this only catches what was missed.
	factsInterval = 25 * time.Second
)

// templates reads the template file and parses it.
func (c Config) templates() ([]template.Template, []file.Warning, error) {
	data, _, err := readSheet(c.TemplatesFile)
	if err != nil {
		return nil, nil, err
	}
	return c.parse(data)
}

// parse makes of a template file's content what this program needs.
func (c Config) parse(data []byte) ([]template.Template, []file.Warning, error) {
	options := file.Options{DefaultImage: c.DefaultImage, AllowedBinds: c.AllowedBinds}
	read, err := file.Parse(c.TemplatesFile, data, options)
	if err != nil {
		return nil, nil, err
	}
	read.Warnings = append(read.Warnings, c.raiseDeadlines(read.Templates)...)
	if c.Backend != "docker" {
		return read.Templates, read.Warnings, nil
	}
	var errs []error
	for _, t := range read.Templates {
		if t.Image == "" {
			errs = append(errs, fmt.Errorf("%s: template %q has no image: name one there, or set SLIPWAY_DEFAULT_IMAGE", c.TemplatesFile, t.Key))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	if !c.Isolate {
		read.Templates, err = asTheReference(read.Templates, c.TemplatesFile, data, options)
	}
	return read.Templates, read.Warnings, err
}

// raiseDeadlines has no template's runner end before the reservation that it was
// launched for can be over.
func (c Config) raiseDeadlines(templates []template.Template) (warnings []file.Warning) {
	least := c.RegistrationDeadline + registrationGrace
	for i := range templates {
		if t := &templates[i]; t.RegistrationDeadline > 0 && t.RegistrationDeadline < least {
			warnings = append(warnings, file.Warning{File: c.TemplatesFile, Message: fmt.Sprintf(
				"template %q: registration_deadline is %s: taken for %s, which is %s longer than a reservation lives", t.Key, t.RegistrationDeadline, least, registrationGrace)})
			t.RegistrationDeadline = least
		}
	}
	return warnings
}

func (c Config) controlPlane(log hclog.Logger) (*shipfox.ControlPlane, error) {
	return shipfox.New(shipfox.Config{
		URL: c.APIURL, RunnerURL: c.RunnerAPIURL, Token: c.Token, ProviderKind: c.Backend, BatchSize: c.BatchSize,
		PollMaxDuration: c.RunnerPollMax, MaxLifetime: c.RunnerMaxLifetime, Logger: log.Named("shipfox"),
	})
}

// closer is a backend and what ends its connections.
type closer interface {
	backend.Backend
	io.Closer
}

type nothingToClose struct{ *process.Backend }

func (nothingToClose) Close() error { return nil }

// backend opens the place where the runners of owner live.
func (c Config) backend(owner string, generation shipfox.Generation, log hclog.Logger) (closer, error) {
	if c.Backend == "process" {
		b, err := process.New(process.Config{Owner: owner, Dir: c.ProcessDir, Runner: runnerCommand(), Logger: log.Named("process")})
		if err != nil {
			return nil, err
		}
		return nothingToClose{b}, nil
	}
	return docker.New(c.engine(owner, generation, log))
}

// engine says how containers are made: as the reference makes them where nothing
// else is set, so that the jobs of its runners find what they found there.
func (c Config) engine(owner string, generation shipfox.Generation, log hclog.Logger) docker.Config {
	d := docker.Config{
		Owner: owner, AdoptOwners: adopted(c.AdoptOwner), Host: c.DockerHost, CertPath: c.DockerCertPath, Schema: schema(generation), PlainNames: true,
		Network: c.DockerNetwork, ExtraHosts: c.DockerExtraHosts, LogDriver: c.DockerLogDriver, LogOptions: c.DockerLogOptions,
		AllowedBinds: c.AllowedBinds, Runner: runnerProgram, StopGrace: c.StopGrace, Logger: log.Named("docker"),
	}
	if d.LogOptions == nil {
		d.LogOptions = map[string]string{} // the engine's default driver, and not this backend's
	}
	if c.Isolate {
		return d
	}
	if d.Network == "" {
		d.Network = "default" // the engine's word for its own choice
	}
	if d.ExtraHosts == nil {
		d.ExtraHosts = []string{} // an engine without a bridge refuses host-gateway
	}
	d.PidsLimit = -1
	return d
}

func adopted(owner string) []string {
	if owner == "" {
		return nil
	}
	return []string{owner}
}

// schema has the label names of the reference provisioner, so that a host can
// move from it to this one, and back, while runners run.
func schema(g shipfox.Generation) docker.Schema {
	s := docker.Schema{
		Owner: "shipfox.provisioner_id", Runner: "shipfox.provider_runner_id", KeysOptional: true,
		Names: map[string]string{
			provisioner.LabelTemplate:    "shipfox.template_key",
			provisioner.LabelLabels:      "shipfox.labels",
			provisioner.LabelReservation: "shipfox.reservation_id",
			provisioner.LabelWorkspace:   "shipfox.workspace_id",
			shipfox.LabelInstance:        "shipfox.runner_instance_id",
		},
	}
	const older = "shipfox.provisioned_runner_id"
	if g == shipfox.Pr {
		s.Runner, s.RunnerAliases = older, []string{s.Runner}
	} else {
		s.RunnerAliases = []string{older} // launched before the service moved on
	}
	return s
}

// limits are the settings in the loop's words.
func (c Config) limits() provisioner.Limits {
	never := func(d time.Duration) time.Duration {
		if d == 0 {
			return -1
		}
		return d
	}
	kept := c.FailedRetentionCount
	if kept == 0 {
		kept = -1
	}
	return provisioner.Limits{
		PollWait: c.PollWait, PollInterval: c.PollInterval, PollMaxInterval: c.PollMaxInterval, UnwatchedListInterval: c.ConvergeInterval,
		ListInterval:    20 * time.Second, // the engine tells of changes: this only catches what was missed
		FactsInterval:   factsInterval,
		MaxReservations: c.MaxReservations, MintBatch: c.BatchSize, LaunchParallelism: c.LaunchParallelism,
		LaunchDeadline:      max(c.RegistrationDeadline, leastLaunchDeadline),
		ReservationLifetime: c.RegistrationDeadline, RegistrationDeadline: c.RegistrationDeadline + registrationGrace,
		MaxLifetime: c.RunnerMaxLifetime + lifetimeGrace, FailedRetention: never(c.FailedRetention), FailedRetentionCount: kept,
	}
}

// identify asks who the token is: at once, or, where the service can't be
// reached, until it can. A token that is refused is an error. When ctx ends
// before, the error is its own.
func identify(ctx context.Context, control *shipfox.ControlPlane, log hclog.Logger) (provisioner.Identity, error) {
	said := "" // a repeat is not logged again
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		identity, err := control.Identify(ctx)
		switch {
		case ctx.Err() != nil:
			return provisioner.Identity{}, ctx.Err()
		case err == nil || errors.Is(err, provisioner.ErrUnauthorized):
			return identity, err
		}
		if text := err.Error(); text != said {
			log.Warn("the service can't be asked who we are: it is asked again", "err", err)
			said = text
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}
