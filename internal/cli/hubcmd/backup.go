package hubcmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
	"github.com/slipway-ci/slipway/internal/cli/command"
)

// The variables of the master key. They are no flags: an argument is seen by all
// users of a machine.
const (
	keyVariable      = "SLIPWAY_MASTER_KEY"
	previousVariable = "SLIPWAY_PREVIOUS_MASTER_KEYS" // with commas between
)

// masterKeys reads them; one that is none is a wrong call of c.
func masterKeys(c *cobra.Command) (key string, previous []string, err error) {
	if key = os.Getenv(keyVariable); key != "" {
		if _, err := vault.KeyID(key); err != nil {
			return "", nil, command.Usage(c, "%s: %w", keyVariable, err)
		}
	}
	for _, text := range strings.Split(os.Getenv(previousVariable), ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if _, err := vault.KeyID(text); err != nil {
			return "", nil, command.Usage(c, "%s: %w", previousVariable, err)
		}
		previous = append(previous, text)
	}
	return key, previous, nil
}

// dataFlags are those of the commands that work on a data folder.
func dataFlags(c *cobra.Command, data, keyFile *string) {
	c.Flags().StringVar(data, "data", defaultData(), "the hub's data folder")
	if keyFile != nil {
		c.Flags().StringVar(keyFile, "master-key-file", "", "file with the master key (default: --data with .key at its end); or SLIPWAY_MASTER_KEY holds the key")
	}
}

func backupCommand() *cobra.Command {
	var data string
	c := &cobra.Command{
		Use: "backup FILE", Short: "Write a backup of the database, while the hub runs or not",
		Long: `Write a copy of the hub's database, as of one instant, to FILE. The hub may run.

Job logs are not in it, and neither is the master key: without the key the
secrets in a backup can't be read. Keep both, in different places.`,
		Args: command.Args(1, 1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := command.FromEnv(c, envPrefix); err != nil {
				return err
			}
			if folder := filepath.Dir(args[0]); !isFolder(folder) {
				return fmt.Errorf("%s can't be written: %s is no folder", args[0], folder)
			}
			err := hub.Backup(c.Context(), data, args[0])
			switch {
			case errors.Is(err, store.ErrExists):
				return fmt.Errorf("%s is there already: a backup never replaces a file", args[0])
			case errors.Is(err, os.ErrNotExist):
				return fmt.Errorf("%s holds no hub's database: name the data folder with --data", data)
			case err != nil:
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "written: %s (the master key is not in it)\n", args[0])
			return err
		},
	}
	dataFlags(c, &data, nil)
	return c
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func restoreCommand() *cobra.Command {
	var cfg hub.RestoreConfig
	var move bool
	c := &cobra.Command{
		Use: "restore FILE (--move | --clone)", Short: "Make a data folder of a backup",
		Long: `Make the data folder --data of the backup FILE. There must be no database in it.

--move   the restored hub is the old one, with its hosts, tokens and jobs. The old
         one must not run any more: two hubs with one identity fight over the hosts.
--clone  the restored hub has a fresh identity, beside the old one. It keeps scale
         sets, credentials of registries and finished jobs. It has no hosts (enrol
         them anew), no token of the old one is good, and jobs that had not ended are
         cancelled. It prints its admin token at its first start.

The master key must be the old hub's, by SLIPWAY_MASTER_KEY or --master-key-file.`,
		Args: command.Args(1, 1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := command.FromEnv(c, envPrefix); err != nil {
				return err
			}
			if move == cfg.Clone {
				return command.Usage(c, "either --move or --clone is needed: the old hub itself, or a new one beside it")
			}
			cfg.File = args[0]
			var err error
			if cfg.MasterKey, cfg.PreviousKeys, err = masterKeys(c); err != nil {
				return err
			}
			err = hub.Restore(c.Context(), cfg)
			switch {
			case errors.Is(err, store.ErrExists):
				return fmt.Errorf("there is a database in %s already: choose an empty folder with --data", cfg.DataDir)
			case errors.Is(err, store.ErrLocked):
				return fmt.Errorf("%s is in use by a hub: choose an empty folder with --data", cfg.DataDir)
			case errors.Is(err, vault.ErrKey):
				return fmt.Errorf("%w: give the old hub's key with SLIPWAY_MASTER_KEY or --master-key-file", err)
			case err != nil:
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "restored to %s: start it with slipway-hub --data %s\n", cfg.DataDir, cfg.DataDir)
			return err
		},
	}
	dataFlags(c, &cfg.DataDir, &cfg.MasterKeyFile)
	c.Flags().BoolVar(&move, "move", false, "keep the identity: the old hub does not run any more")
	c.Flags().BoolVar(&cfg.Clone, "clone", false, "a fresh identity, beside the old hub")
	return c
}

func rotateKeyCommand() *cobra.Command {
	var data, file string
	c := &cobra.Command{
		Use: "rotate-key", Short: "Put a new master key at the top of the key's file",
		Long: `Put a new master key at the top of the key's file. It takes effect when the hub
starts the next time: then everything is sealed anew, with it, while the hub works. Its
log says when the keys below it are of no more use.`,
		Args: command.Args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := command.FromEnv(c, envPrefix); err != nil {
				return err
			}
			if os.Getenv(keyVariable) != "" {
				return command.Usage(c, "the key is in %s: put a new one there, and the old one into %s", keyVariable, previousVariable)
			}
			if file == "" {
				file = vault.DefaultFile(data)
			}
			id, err := vault.Rotate(file, data)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "new master key %s in %s: restart the hub\n", id, file)
			return err
		},
	}
	dataFlags(c, &data, &file)
	return c
}

func forgetKeyCommand() *cobra.Command {
	var data string
	c := &cobra.Command{
		Use: "forget-key ID", Short: "Give up what a lost master key sealed",
		Long: `Give up for good what the master key with this id sealed, when that key is lost:
else the hub does not start without it. Credentials of registries and environments of
jobs that it sealed can't be read any more: set them anew. The hub must not run.`,
		Args: command.Args(1, 1, "ID"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := command.FromEnv(c, envPrefix); err != nil {
				return err
			}
			s, err := store.Open(c.Context(), store.Config{Dir: data})
			if errors.Is(err, store.ErrLocked) {
				return fmt.Errorf("%s is in use by a hub: stop it first", data)
			} else if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			if err := vault.Forget(c.Context(), s, args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "key %s is not needed any more\n", args[0])
			return err
		},
	}
	dataFlags(c, &data, nil)
	return c
}
