package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/agent/policy"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/docker"
)

// Config is what Open needs.
type Config struct {
	// Kind is docker or process.
	Kind string
	// Owner is whose runners these are.
	Owner string
	// Rules are the host's policy.
	Rules *policy.Policy
	// Program is the one-job runner; empty: nothing is started.
	Program string
	// Roots are certificates that runners trust beside the system's; nil: none.
	Roots []byte
	// RootsFile is where they lie; empty: nowhere.
	RootsFile string
	// DockerHost is where Docker's engine listens; default DOCKER_HOST, then the local
	// socket.
	DockerHost string
	// HostRoot is where the host's root is mounted, for the disk gauge.
	HostRoot string
	// Dir is the folder of runners that are processes.
	Dir string
	// Changed is told when the engine can't be seen any more, and why; and, with nothing,
	// when it can be again. Nil: nobody is.
	Changed func(problem string)
	// Logger; nil discards.
	Logger hclog.Logger
}

// Open opens the engine of a kind. Nothing is sent yet.
func Open(c Config) (*Engine, error) {
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Changed == nil {
		c.Changed = func(string) {}
	}
	if c.Kind == "process" {
		return c.openProcess()
	}
	b, err := docker.New(docker.Config{
		Owner: c.Owner, Host: c.DockerHost, Review: c.Rules.Review, MaxRunners: c.Rules.MaxRunners(), AllowedBinds: c.Rules.Binds(),
		Runner: runnerProgram(c.Program), RunnerArgs: []string{"runner"}, CARoots: runnerRoots(c.Roots), Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	e := observe(b, c.Changed)
	e.facts, e.purge, e.close = b.Facts, b.Purge, b.Close
	e.folder = func(f docker.Facts) string {
		if !c.local() || f.DataRoot == "" {
			return ""
		}
		return filepath.Join(c.HostRoot, f.DataRoot)
	}
	return e, nil
}

// local says whether the engine's file system is this machine's, as far as its
// address tells.
func (c Config) local() bool {
	host := c.DockerHost
	if host == "" {
		host = os.Getenv("DOCKER_HOST")
	}
	return host == "" || strings.HasPrefix(host, "unix://")
}

func (c Config) openProcess() (*Engine, error) {
	var env map[string]string
	if c.RootsFile != "" {
		file, err := filepath.Abs(c.RootsFile) // a runner has a folder of its own
		if err != nil {
			return nil, err
		}
		env = map[string]string{docker.CAFileEnv: file}
	}
	b, err := process.New(process.Config{
		Owner: c.Owner, Dir: c.Dir, Runner: []string{c.Program, "runner"}, RunnerEnv: env, MaxRunners: c.Rules.MaxRunners(), Logger: c.Logger.Named("process"),
	})
	if err != nil {
		return nil, err
	}
	e := observe(b, c.Changed)
	e.facts = func(context.Context) (docker.Facts, error) {
		return docker.Facts{OS: runtime.GOOS, Arch: runtime.GOARCH}, nil
	}
	e.folder = func(docker.Facts) string { return c.Dir }
	e.purge = func(ctx context.Context) error {
		return e.remove(ctx, func(backend.Runner) bool { return true })
	}
	e.close = func() error { return nil }
	return e, nil
}

// Facts asks the engine about itself; an engine that is down is an error.
func (e *Engine) Facts(ctx context.Context) (docker.Facts, error) { return e.facts(ctx) }

// Disk is how full the disk is where images and runners lie, as far as that can be
// told here.
func (e *Engine) Disk(f docker.Facts) agent.Disk { return diskAt(e.folder(f)) }

// RemoveEnded removes the runners that have ended.
func (e *Engine) RemoveEnded(ctx context.Context) error {
	return e.remove(ctx, func(r backend.Runner) bool { return r.State.Ended() })
}

// Purge removes all of the owner's: runners, running ones too, volumes, networks.
func (e *Engine) Purge(ctx context.Context) error { return e.purge(ctx) }

// Close lets go of the engine; runners go on.
func (e *Engine) Close() error { return e.close() }

// runnerProgram is this program, which is the one-job runner too.
func runnerProgram(program string) func(context.Context, string, string) (string, error) {
	return func(_ context.Context, system, arch string) (string, error) {
		if system != runtime.GOOS || arch != runtime.GOARCH {
			return "", fmt.Errorf("this agent is of %s/%s: %w", runtime.GOOS, runtime.GOARCH, fs.ErrNotExist)
		}
		return program, nil
	}
}

// runnerRoots are the certificates that runners get. Nil is docker's default, the
// system's own.
func runnerRoots(own []byte) []byte {
	if own == nil {
		return nil
	}
	for _, file := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"} {
		if system, err := os.ReadFile(file); err == nil {
			return append(append(system, '\n'), own...)
		}
	}
	return own
}

// remove removes the runners that are meant.
func (e *Engine) remove(ctx context.Context, meant func(backend.Runner) bool) error {
	listing, err := e.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range listing.Runners {
		if meant(r) {
			errs = append(errs, e.Remove(ctx, r.ID))
		}
	}
	return errors.Join(errs...)
}

// diskAt is how full the disk of a folder is; zero: that can't be told.
func diskAt(folder string) agent.Disk {
	var s unix.Statfs_t
	if folder == "" || unix.Statfs(folder, &s) != nil {
		return agent.Disk{}
	}
	size := int64(s.Bsize)
	return agent.Disk{Free: int64(s.Bavail) * size, Total: int64(s.Blocks) * size}
}
