package agentd

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/slipway-ci/slipway/internal/agentd/update"
)

// Restart is what Run returns when the process is to go on as another program, or
// as the same one from its beginning.
type Restart struct {
	// Program is what to execute.
	Program string
	// Installed is the program that every start begins with.
	Installed string
	// Reason says why, for the log.
	Reason string

	failed func(error) error // told when Program could not be executed
}

// Error tells the reason.
func (r *Restart) Error() string { return "restart: " + r.Reason }

// Exec makes this process the other program, with the same arguments: whoever
// looks after the process notices nothing. It returns only when that failed. A
// version that was fetched and can't be executed is given up for the one before.
func (r *Restart) Exec(args []string) error {
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, update.InstalledEnv+"=") })
	if r.Program != r.Installed {
		env = append(env, update.InstalledEnv+"="+r.Installed)
	}
	signal.Ignore(syscall.SIGHUP) // it would end a program that has yet to ask for it, and is about to read all anew
	err := syscall.Exec(r.Program, append([]string{r.Program}, args...), env)
	if r.failed != nil && r.Program != r.Installed {
		if err := r.failed(err); err != nil {
			return err
		}
		again := Restart{Program: r.Installed, Installed: r.Installed}
		return again.Exec(args)
	}
	return fmt.Errorf("execute %s: %w", r.Program, err)
}
