package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/hashicorp/go-hclog"
	"github.com/pressly/goose/v3"
)

// migrations are applied in the order of their numbers and never changed once
// released: add at the end only.
//
//go:embed migrations/*.sql
var migrations embed.FS

func migrate(ctx context.Context, db *sql.DB, log hclog.Logger) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("store: read migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return fmt.Errorf("store: read migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("store: migrate database: %w", context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("store: migrate database: %w", err)
	}
	for _, r := range results {
		log.Debug("database migrated", "version", r.Source.Version)
	}
	return nil
}
