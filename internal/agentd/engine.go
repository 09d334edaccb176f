package agentd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/docker"
)

// engine is what runs runners on this host, with what only its kind can tell.
type engine struct {
	backend.Backend
	// facts asks the engine; an engine that is down is an error.
	facts func(ctx context.Context) (docker.Facts, error)
	// disk is the folder where images and runners lie; empty: not on this machine.
	disk func(docker.Facts) string
	// purge removes all of the owner's: runners, running ones too, volumes, networks.
	purge func(ctx context.Context) error
	close func() error
}

// open opens the engine of a kind for an owner. Nothing is sent yet.
func (c Config) open(owner, program string, rules guard, roots []byte) (*engine, error) {
	if c.Backend == "process" {
		return c.openProcess(owner, program, rules)
	}
	b, err := docker.New(docker.Config{
		Owner: owner, Host: c.DockerHost, Review: rules.Review, MaxRunners: rules.MaxRunners(), AllowedBinds: rules.Binds(),
		Runner: runnerProgram(program), RunnerArgs: []string{"runner"}, CARoots: runnerRoots(roots), Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &engine{
		Backend: b, facts: b.Facts, purge: b.Purge, close: b.Close,
		disk: func(f docker.Facts) string {
			if !c.localEngine() || f.DataRoot == "" {
				return ""
			}
			return filepath.Join(c.HostRoot, f.DataRoot)
		},
	}, nil
}

// localEngine says whether the engine's file system is this machine's, as far as
// its address tells.
func (c Config) localEngine() bool {
	host := c.DockerHost
	if host == "" {
		host = os.Getenv("DOCKER_HOST")
	}
	return host == "" || strings.HasPrefix(host, "unix://")
}

func (c Config) openProcess(owner, program string, rules guard) (*engine, error) {
	dir := filepath.Join(c.Data, runnersName)
	b, err := process.New(process.Config{
		Owner: owner, Dir: dir, Runner: []string{program, "runner"}, MaxRunners: rules.MaxRunners(), Logger: c.Logger.Named("process"),
	})
	if err != nil {
		return nil, err
	}
	return &engine{
		Backend: b, purge: func(ctx context.Context) error { return removeAll(ctx, b, func(backend.Runner) bool { return true }) },
		facts: func(context.Context) (docker.Facts, error) {
			return docker.Facts{OS: runtime.GOOS, Arch: runtime.GOARCH}, nil
		},
		disk:  func(docker.Facts) string { return dir },
		close: func() error { return nil },
	}, nil
}

// runnersName is the folder of the process backend in the data folder.
const runnersName = "runners"

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

// removeAll removes the runners that are meant.
func removeAll(ctx context.Context, b backend.Backend, meant func(backend.Runner) bool) error {
	listing, err := b.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range listing.Runners {
		if meant(r) {
			errs = append(errs, b.Remove(ctx, r.ID))
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
