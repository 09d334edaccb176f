package scalesets

import (
	"context"
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
)

// Hosts are the hub's hosts: a *hosts.Registry.
type Hosts interface {
	// Resolve returns the id of the host with this name or id. hosts.ErrNotFound:
	// there is none.
	Resolve(ctx context.Context, nameOrID string) (id string, err error)
	// Name returns the name of the host with this id. hosts.ErrNotFound: there is none.
	Name(ctx context.Context, id string) (string, error)
}

// Config is what a Registry is made from. Store, Hosts and Vault are required.
type Config struct {
	// Store holds everything. Required.
	Store *store.Store
	// Hosts are what names of hosts mean. Required.
	Hosts Hosts
	// Vault seals passwords. Required.
	Vault *vault.Vault
	// DefaultImage is the image of scale sets that name none; default none.
	DefaultImage string
	// AllowedBinds are the folders of hosts that mounts may bind, as in
	// file.Options; default none.
	AllowedBinds []string
	// Events is told of every change; nil: nobody is. It is called after the change
	// is on disk and must be quick. Objects are scale-set/NAME and credential/NAME.
	Events func(kind, object, text string)
	// Logger; nil discards.
	Logger hclog.Logger
}

func (c Config) withDefaults() Config {
	if c.Events == nil {
		c.Events = func(string, string, string) {}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	for _, field := range []struct {
		name    string
		missing bool
	}{{"Store", c.Store == nil}, {"Hosts", c.Hosts == nil}, {"Vault", c.Vault == nil}} {
		if field.missing {
			return fmt.Errorf("%w: %s is nil", ErrConfig, field.name)
		}
	}
	return nil
}
