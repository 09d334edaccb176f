package agentd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/slipway-ci/slipway/agent/policy"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/agentd/engine"
	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/cli/command"
)

func purgeCommand() *cobra.Command {
	s := &settings{}
	var all, withData, agreed bool
	c := &cobra.Command{
		Use: "purge", Short: "Remove what this agent has on the engine", Args: command.Args(0, 0, ""),
		Long: `Remove what this agent has on the engine: its runners that have ended. With --all
those that run too, its network and its cache volumes; with --with-data also its
identity and its credentials. What is not this agent's is not touched, and images
stay. The agent must not run.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := s.read(c); err != nil {
				return err
			}
			if withData && !all {
				return command.Usage(c, "--with-data needs --all: without its identity nobody knows what is left")
			}
			return s.config.purge(c, all, withData, agreed)
		},
	}
	s.common(c)
	s.engine(c)
	f := c.Flags()
	f.BoolVar(&all, "all", false, "running runners, networks and volumes as well")
	f.BoolVar(&withData, "with-data", false, "the data folder as well: this host is then enrolled with no hub")
	f.BoolVar(&agreed, "yes", false, "don't ask")
	s.logs(c)
	_ = f.Set("log-level", "warn")
	f.Lookup("log-level").Changed = false
	return c
}

func (c Config) purge(cmd *cobra.Command, all, withData, agreed bool) error {
	folder, err := identity.Find(c.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no agent in %s: name the folder with --data", c.Data)
	}
	if err != nil {
		return err
	}
	lock, err := folder.Lock()
	if errors.Is(err, identity.ErrLocked) {
		return stillRuns(folder)
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	who, err := folder.Identity()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no agent in %s: name the folder with --data", c.Data)
	}
	if err != nil {
		return err
	}
	if !agreed {
		if err := agree(cmd, c.Data, who, all, withData); err != nil {
			return err
		}
	}
	owners := who.Owners()
	if err := c.purgeEngine(cmd.Context(), cmd.OutOrStdout(), owners, all); err != nil {
		return err
	}
	if !withData {
		return nil
	}
	return folder.Destroy()
}

// stillRuns says how the agent that runs with a folder is stopped, as far as it has
// told.
func stillRuns(folder *identity.Folder) error {
	if r, err := reported(folder); err == nil && r != nil && r.Supervisor.stop() != "" {
		return fmt.Errorf("the agent runs: stop it first (%s)", r.Supervisor.stop())
	}
	return errors.New("the agent runs: stop it first")
}

// purgeEngine removes what these owners have on the engine.
func (c Config) purgeEngine(ctx context.Context, out io.Writer, owners []string, all bool) error {
	c = c.withDefaults()
	var errs []error
	for _, owner := range owners {
		errs = append(errs, c.purgeOwner(ctx, out, owner, all))
	}
	return errors.Join(errs...)
}

func (c Config) purgeOwner(ctx context.Context, out io.Writer, owner string, all bool) (err error) {
	e, err := engine.Open(c.engine(owner, guard{Policy: policy.Default()})) // nothing is started
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	before, err := e.List(ctx)
	if err != nil {
		return fmt.Errorf("purge: the engine can't be asked what there is: %w", err)
	}
	if all {
		err = e.Purge(ctx)
	} else {
		err = e.RemoveEnded(ctx)
	}
	if err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	n := len(slices.DeleteFunc(before.Runners, func(r backend.Runner) bool { return !all && !r.State.Ended() }))
	_, err = fmt.Fprintf(out, "removed %s of %s\n", command.Plural(n, "runner"), owner)
	return err
}

// agree asks the person at the terminal.
func agree(cmd *cobra.Command, data string, who identity.Identity, all, withData bool) error {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return command.Usage(cmd, "nobody can be asked here: say --yes")
	}
	what := "the ended runners"
	if all {
		what = "all runners, running ones too, with their network and volumes,"
	}
	if withData {
		what += " and the data folder " + data
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Remove %s of agent %s? Type yes: ", what, who.Agent)
	line, _ := bufio.NewReader(in).ReadString('\n')
	if !strings.EqualFold(strings.TrimSpace(line), "yes") {
		return errors.New("nothing was removed")
	}
	return nil
}
