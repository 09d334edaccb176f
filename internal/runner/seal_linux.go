package runner

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/slipway-ci/slipway/tokens"
)

// envSealed names the descriptor on which the credential comes.
const envSealed = "SLIPWAY_RUNNER_CREDENTIAL_FD"

// seal hides the credential from other processes of the same user. The first
// time it executes the program again, as the same process, with an environment
// that lacks the credential; that life's kernel copy of the environment is gone
// then. The second time it returns the whole environment.
func seal(env []string) ([]string, error) {
	// Each execution starts out readable again.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("hide memory: %w", err)
	}
	open, secret := split(env)
	if i := slices.IndexFunc(open, isSealed); i >= 0 {
		if len(secret) > 0 {
			return nil, usage(envSealed, "is the runner's own, and set beside a credential")
		}
		_, fd, _ := strings.Cut(open[i], "=")
		secret, err := unseal(fd)
		return append(slices.Delete(open, i, i+1), secret...), err
	}
	if len(secret) == 0 {
		return env, nil
	}
	return nil, again(open, secret)
}

func isSealed(entry string) bool { return strings.HasPrefix(entry, envSealed+"=") }

// split takes the credentials out of env, and drops every other token that stands
// there, such as an admin's who starts a runner by hand: it has no use for one.
func split(env []string) (open, secret []string) {
	for _, entry := range env {
		if strings.HasPrefix(entry, envRegistration+"=") || strings.HasPrefix(entry, envBootstrap+"=") {
			secret = append(secret, entry)
		} else if tokens.Redact(entry) == entry {
			open = append(open, entry)
		}
	}
	return open, secret
}

// again returns only when it failed.
func again(open, secret []string) error {
	text := strings.Join(secret, "\n")
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("hide credential: %w", err)
	}
	unix.CloseOnExec(pipe[1])
	if n, err := unix.Write(pipe[1], []byte(text)); err != nil || n != len(text) {
		return errors.Join(errors.New("hide credential: it does not fit into a pipe"), err)
	}
	env := append(open, envSealed+"="+strconv.Itoa(pipe[0]))
	return fmt.Errorf("hide credential: execute again: %w", unix.Exec("/proc/self/exe", os.Args, env))
}

// unseal reads the credentials; nothing is left in the pipe.
func unseal(fd string) ([]string, error) {
	n, err := strconv.Atoi(fd)
	if err != nil || n <= 2 {
		return nil, usage(envSealed, "is the runner's own, don't set it")
	}
	pipe := os.NewFile(uintptr(n), "credential")
	defer func() { _ = pipe.Close() }()
	text, err := io.ReadAll(pipe)
	if err != nil {
		return nil, usage(envSealed, "is the runner's own, don't set it")
	}
	return strings.Split(string(text), "\n"), nil
}
