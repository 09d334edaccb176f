package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
	"github.com/slipway-ci/slipway/template"
)

// Check tries all that a start needs and says what it found. Nothing is launched
// or removed.
func (c Config) Check(ctx context.Context, stdout io.Writer) error {
	var errs []error
	say := func(what string, err error, format string, args ...any) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
			return
		}
		_, _ = fmt.Fprintf(stdout, what+": "+format+"\n", args...)
	}
	for _, w := range c.Warnings {
		_, _ = fmt.Fprintln(stdout, "warning:", w)
	}
	if c.LogFile != "" {
		_, file, err := c.logger(io.Discard)
		if err == nil {
			err = file.Close()
		}
		say("log", err, "%s can be written", c.LogFile)
	}
	err := c.tryListen(ctx)
	if err != nil && (!c.httpAddrGiven || errors.Is(err, syscall.EADDRINUSE)) { // perhaps by this very provisioner
		_, _ = fmt.Fprintln(stdout, "warning:", err)
	} else if err != nil {
		say("http", err, "")
	}
	templates, warnings, err := c.templates()
	for _, w := range warnings {
		_, _ = fmt.Fprintln(stdout, "warning:", w)
	}
	say("templates", err, "%d in %s", len(templates), c.TemplatesFile)

	owner, generation, err := c.checkToken(ctx, templates)
	say("token", rejected(err), "accepted by %s, generation %s", c.APIURL, generation)
	say("backend", c.checkBackend(ctx, owner, generation), "%s answers", c.Backend)
	return errors.Join(errs...)
}

// checkToken asks who the token is, and whether the service takes the templates.
func (c Config) checkToken(ctx context.Context, templates []template.Template) (owner string, g shipfox.Generation, err error) {
	control, err := c.controlPlane(hclog.NewNullLogger())
	if err != nil {
		return "", "", err
	}
	var identity provisioner.Identity
	if identity, err = control.Identify(ctx); err != nil {
		return "", "", err
	}
	if g, err = control.Generation(ctx); err != nil {
		return "", "", err
	}
	return identity.ID, g, control.CheckTemplates(ctx, templates)
}

func (c Config) checkBackend(ctx context.Context, owner string, g shipfox.Generation) error {
	if owner == "" { // the token's check has failed; the engine can be tried all the same
		if c.Backend != "docker" {
			return nil
		}
		owner = "check"
	}
	b, err := c.backend(owner, g, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	_, err = b.List(ctx)
	return errors.Join(err, b.Close())
}
