package agentd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/slipway-ci/slipway/agent/policy"
	"github.com/slipway-ci/slipway/internal/cli/command"
)

// guard is the host's own policy, which no hub can change, and where it is from.
type guard struct {
	*policy.Policy
	path string // empty: the default policy
}

// guard reads the policy. Without a file it is the default policy, unless one was
// asked for; a file that can't be used is an error: there is no agent without.
func (c Config) guard() (guard, error) {
	path, err := c.policyFile()
	if err != nil {
		return guard{}, err
	}
	if path == "" {
		return c.protect(guard{Policy: policy.Default()}), nil
	}
	p, err := policy.Load(path)
	if err != nil {
		return guard{}, err
	}
	return c.protect(guard{Policy: p, path: path}), nil
}

// policyFile finds the file; empty: there is none.
func (c Config) policyFile() (string, error) {
	if c.Policy != "" {
		return c.Policy, nil
	}
	switch _, err := os.Lstat(c.DefaultPolicy); {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("policy: %w", err)
	}
	return c.DefaultPolicy, nil
}

// protect keeps what is the agent's own out of every runner.
func (c Config) protect(g guard) guard {
	g.Protect(c.DefaultPolicy, c.Data, c.Policy)
	host := c.DockerHost
	if host == "" {
		host = os.Getenv("DOCKER_HOST")
	}
	if socket, ok := strings.CutPrefix(host, "unix://"); ok {
		g.Protect(socket)
	}
	return g
}

// String is a line for people.
func (g guard) String() string {
	var parts []string
	if g.path == "" {
		parts = append(parts, "default (nothing privileged, nothing of the host mounted)")
	} else {
		parts = append(parts, g.path)
	}
	if n := g.MaxRunners(); n > 0 {
		parts = append(parts, "at most "+command.Plural(n, "runner"))
	}
	if binds := g.Binds(); len(binds) > 0 {
		parts = append(parts, "binds below "+strings.Join(binds, " "))
	}
	if !g.AllowsUpdate() {
		parts = append(parts, "no updates by the hub")
	}
	return strings.Join(parts, ", ")
}
