package agentd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/agentd/engine"
	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/agentd/update"
	"github.com/slipway-ci/slipway/internal/version"
	"github.com/slipway-ci/slipway/tokens"
)

// program is the agent that runs, put together.
type program struct {
	config  Config
	log     hclog.Logger
	folder  *identity.Folder
	who     identity.Identity
	keys    *identity.Keyring // nil: the local token
	rules   guard
	updater *update.Updater
	engine  *engine.Engine
	tls     *tls.Config
	web     *web
	end     context.CancelCauseFunc // ends the run; its cause may be a *Restart
	fresh   chan struct{}           // of one: the engine may tell other facts now
	staged  chan struct{}           // of one: an update was fetched
	moved   chan struct{}           // of one: the report is another
	hungUp  chan os.Signal          // of one: the policy is to be read anew

	mu        sync.Mutex
	facts     docker.Facts
	known     bool // the engine has told its facts since the start
	engineID  string
	rebuild   context.CancelCauseFunc // has the hub told who the engine is
	started   time.Time
	connected bool
	since     time.Time
	sessions  uint64
	removed   bool
	stored    tokens.Token // the credential in the folder when one was asked for
	out       tokens.Token // the same, when the hub refused; zero: it did not
}

// errEngine: the engine is another one than the hub was told.
var errEngine = errors.New("the engine tells another id")

// Run runs the agent until ctx ends, whatever happens to the hub and the engine,
// and leaves runners alone. An error that is a *Restart says which program the
// process is to become.
func Run(ctx context.Context, config Config) error {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return err
	}
	folder, err := identity.Open(config.Data)
	if err != nil {
		return err
	}
	lock, err := folder.Lock()
	if err != nil {
		return err
	}
	defer lock.Release()
	config.Data = folder.Path()
	p := &program{
		config: config, log: config.Logger, folder: folder, started: time.Now(), since: time.Now(),
		fresh: make(chan struct{}, 1), staged: make(chan struct{}, 1), moved: make(chan struct{}, 1),
	}
	if err := p.identify(); err != nil {
		return err
	}
	if err := p.prepareUpdates(); err != nil {
		return err
	}
	if path := p.updater.Program(); path != "" {
		return &Restart{Program: path, Installed: p.updater.Installed(), Reason: "an update is active", failed: p.updater.NotStarted}
	}
	err = p.run(ctx)
	var restart *Restart
	if err != nil && !errors.As(err, &restart) && p.updater.OnTrial() {
		return p.goBack(tokens.Redact(err.Error()))
	}
	return err
}

// identify finds out who we are, and for whom.
func (p *program) identify() error {
	if err := p.folder.Settle(); err != nil {
		return err
	}
	who, err := p.folder.Ensure()
	if err != nil {
		return err
	}
	if p.config.LocalToken.IsZero() {
		if _, err := p.folder.Token(); err != nil || !who.Enrolled() {
			return errors.Join(fmt.Errorf("%w: run `slipway-agent enrol` with the token of `slipway hosts add`", identity.ErrNotEnrolled), ignore(err, identity.ErrNotEnrolled))
		}
		p.keys = p.folder.Keyring(p.log)
	} else {
		who.Owner, who.Host, who.Name, who.Hub = who.Agent, "", "local", p.config.Hub
	}
	p.who, p.engineID = who, who.Engine
	if p.config.Hub == "" {
		p.config.Hub = who.Hub
	}
	p.config.InsecureHTTP = p.config.InsecureHTTP || who.InsecureHTTP
	return nil
}

// ignore is err unless it is the other.
func ignore(err, other error) error {
	if errors.Is(err, other) {
		return nil
	}
	return err
}

func (p *program) prepareUpdates() error {
	config, _, err := p.config.roots()
	if err != nil {
		return err
	}
	p.tls = config
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	transport.DisableKeepAlives = true
	p.updater, err = update.New(update.Config{
		Folder: p.folder, Hub: p.config.Hub, Client: &http.Client{Transport: transport}, Executable: p.config.Executable, Version: p.config.Version,
		Deadline: p.config.UpdateDeadline, Allowed: func() bool { return p.rules.AllowsUpdate() }, Logger: p.log.Named("update"),
	})
	return err
}

// goBack gives a new version up.
func (p *program) goBack(reason string) error {
	if err := p.updater.Back(reason); err != nil {
		return err
	}
	return p.restart("the update goes back: " + reason)
}

// restart is the way to begin anew, with the installed program.
func (p *program) restart(reason string) error {
	return &Restart{Program: p.updater.Installed(), Installed: p.updater.Installed(), Reason: reason}
}

// run opens the engine and serves it.
func (p *program) run(ctx context.Context) (err error) {
	defer p.listenForHangUps()()
	if p.rules, err = p.config.guard(); err != nil {
		return err
	}
	_, pem, err := p.config.roots()
	if err != nil {
		return err
	}
	self, err := p.config.executable()
	if err != nil {
		return err
	}
	config := p.config.engine(p.who.Owner, p.rules)
	config.Program, config.Roots, config.RootsFile = self, pem, p.config.CAFile
	config.Changed = p.engineChanged
	if p.engine, err = engine.Open(config); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.engine.Close()) }()
	if p.web, err = p.listen(); err != nil {
		return err
	}
	defer p.web.close()
	p.log.Info("starting", "version", p.version(), "agent", p.who.Agent, "host", p.who.Name, "hub", p.config.Hub,
		"backend", p.config.Backend, "policy", p.rules.String())
	p.warnOfLoader(self)
	return p.serve(ctx)
}

// engineChanged is told that the engine went away, and why, or came back.
func (p *program) engineChanged(problem string) {
	if problem != "" {
		p.log.Warn("the engine can't be seen: runners go on, and the hub is told", "err", problem)
	} else {
		p.log.Info("the engine can be seen again")
	}
	poke(p.fresh)
	poke(p.moved)
}

func (p *program) version() string {
	if p.config.Version != "" {
		return p.config.Version
	}
	return version.String()
}

// serve runs all parts until one of them, or ctx, ends the run.
func (p *program) serve(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	p.end = end
	p.refresh(ctx)
	var parts sync.WaitGroup
	parts.Go(func() { p.watchEngine(ctx) })
	parts.Go(func() { p.tick(ctx) })
	parts.Go(func() { p.tryOut(ctx) })
	parts.Go(func() { p.restartStaged(ctx) })
	parts.Go(func() { p.hangUps(ctx) })
	parts.Go(func() { p.leave(ctx) })
	notify("READY=1")
	err := p.agents(ctx)
	end(err)
	parts.Wait()
	notify("STOPPING=1")
	p.log.Info("stopped; runners go on")
	p.forgetReport()
	var restart *Restart
	if cause := context.Cause(ctx); errors.As(cause, &restart) {
		return restart
	}
	return err
}

// agents runs one agent after the other: the next one, when the engine turned out
// to be another than the hub was told.
func (p *program) agents(ctx context.Context) error {
	for ctx.Err() == nil {
		current, rebuild := context.WithCancelCause(ctx)
		p.mu.Lock()
		p.rebuild = rebuild
		config := p.agent()
		p.mu.Unlock()
		a, err := agent.New(config)
		if err != nil {
			rebuild(nil)
			return err
		}
		err = a.Run(current)
		rebuild(nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// tryOut gives a new version its time.
func (p *program) tryOut(ctx context.Context) {
	if !p.updater.OnTrial() {
		return
	}
	p.log.Info("a new version is on trial", "version", p.version(), "deadline", p.updater.Deadline().String())
	timer := time.NewTimer(p.updater.Deadline())
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-p.updater.Welcome():
	case <-timer.C:
		p.end(p.goBack(fmt.Sprintf("no welcome from the hub within %s", p.updater.Deadline())))
	}
}
