package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
)

// Backup writes the database of the hub in the data folder dir to file, while that
// hub runs or not: all but job logs, and the master key, without which the secrets
// in it can't be read. store.ErrExists: file is there already.
func Backup(ctx context.Context, dir, file string) error { return store.Backup(ctx, dir, file) }

// RestoreConfig says what is made of a backup.
type RestoreConfig struct {
	// File is what Backup wrote, DataDir the folder to make of it, in which there
	// is no database yet. Required.
	File, DataDir string
	// Clone makes a hub beside the old one; else the restored hub is the old one,
	// which must not run any more.
	//
	// A clone has a fresh identity. It keeps scale sets, credentials of registries
	// and finished jobs. It has no hosts, for their agents belong to the old hub; no
	// token of the old hub is good; jobs that had not ended are cancelled with the
	// reason "cloned", for the old hub runs them.
	Clone bool
	// MasterKey, MasterKeyFile and PreviousKeys are as in Config. The keys must be
	// those of the old hub.
	MasterKey, MasterKeyFile string
	PreviousKeys             []string
	// Logger; nil discards.
	Logger hclog.Logger
}

// Restore makes a data folder of a backup. Of an error no database is left in it.
// Errors: store.ErrExists, store.ErrLocked, vault.ErrKey, vault.ErrKeyFile.
func Restore(ctx context.Context, cfg RestoreConfig) (err error) {
	if err := store.Restore(ctx, cfg.File, cfg.DataDir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				_ = os.Remove(filepath.Join(cfg.DataDir, store.DatabaseFile) + suffix)
			}
		}
	}()
	s, err := store.Open(ctx, store.Config{Dir: cfg.DataDir, Logger: cfg.Logger})
	if err != nil {
		return err
	}
	if cfg.Clone {
		err = s.Write(ctx, clone)
	}
	if err == nil {
		_, err = vault.Open(ctx, vault.Config{
			Store: s, Key: cfg.MasterKey, File: cfg.MasterKeyFile, Previous: cfg.PreviousKeys, Logger: cfg.Logger,
		})
	}
	return errors.Join(err, s.Close())
}

// forgotten are the tables of what belongs to the old hub alone.
var forgotten = []string{
	"host_updates", "host_runners", "host_enrolments", "host_credentials", "hosts",
	"leases", "sessions", "tokens", "runners", "reservations", "provisioners", "vault_secrets",
}

// clone gives a database a fresh identity.
func clone(tx *store.Tx) error {
	if _, err := tx.Exec(`PRAGMA defer_foreign_keys = ON`); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	steps := []struct {
		query string
		args  []any
	}{
		{`INSERT INTO job_events (job_id, at, state, attempt, reason) SELECT id, ?, 'cancelled', attempt, 'cloned' FROM jobs WHERE finished_at IS NULL`, []any{now}},
		{`UPDATE jobs SET state = 'cancelled', reason = 'cloned', finished_at = ?, reservation_id = NULL, reserved_until = NULL, lease_id = NULL, env = NULL WHERE finished_at IS NULL`, []any{now}},
		{`DELETE FROM settings WHERE name = 'workspace'`, nil},
	}
	for _, table := range forgotten {
		steps = append(steps, struct {
			query string
			args  []any
		}{`DELETE FROM ` + table, nil})
	}
	for _, step := range steps {
		if _, err := tx.Exec(step.query, step.args...); err != nil {
			return fmt.Errorf("hub: clone: %w", err)
		}
	}
	return nil
}
