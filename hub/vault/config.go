package vault

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/store"
)

// Config says where the keys are. Only Store is required.
type Config struct {
	// Store holds what is sealed. Required.
	Store *store.Store
	// Key is the master key: 32 bytes in hex or base64. Empty: the first one in File.
	Key string
	// File holds the master key where Key is empty, and previous keys below it, one a
	// line; lines that begin with # are left out. Beside a Key all in it are previous
	// ones. It must be its owner's alone and outside the data folder. Where it is
	// missing, Key is empty and nothing was sealed yet, it is made (0600). Default: the
	// data folder's path with ".key" at its end.
	File string
	// Previous are keys that still open what they sealed, beside those in File.
	Previous []string
	// Logger; nil discards.
	Logger hclog.Logger
}

// DefaultFile is where the key of a data folder is unless something else is said.
func DefaultFile(dataDir string) string { return filepath.Clean(dataDir) + ".key" }

func (c Config) withDefaults() Config {
	if c.File == "" && c.Store != nil {
		c.File = DefaultFile(c.Store.Dir())
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	if c.Store == nil {
		return errors.New("vault: Store is nil")
	}
	return nil
}

// Format prints a Config without its keys, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "vault.Config{File: %q, Previous: %d}", c.File, len(c.Previous))
}
