package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
)

// ErrExists: what was to be written is there already; nothing was touched.
var ErrExists = errors.New("store: exists already")

// Backup writes a copy of the database in the data folder dir to file (0600), as of
// one instant, while another process may have the folder open and write
// (https://sqlite.org/lang_vacuum.html#vacuuminto). Keys and logs are not in it.
// ErrExists: file is there already. Of an error nothing is left behind.
func Backup(ctx context.Context, dir, file string) (err error) {
	if dir, err = filepath.Abs(dir); err != nil { // a database's name is a URL
		return fmt.Errorf("store: backup: %w", err)
	}
	source := filepath.Join(dir, DatabaseFile)
	if _, err := os.Stat(source); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	file, err = filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	// Made first, with nobody else's right to read it: SQLite takes over a file
	// that is empty.
	temp, err := os.CreateTemp(filepath.Dir(file), ".slipway-backup-*")
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	if err := temp.Close(); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if err := copyDatabase(ctx, source, temp.Name()); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if err := syncFile(temp.Name()); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	// Link, and not rename: what is there is never replaced.
	if err := os.Link(temp.Name(), file); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %s", ErrExists, file)
		}
		return fmt.Errorf("store: backup: %w", err)
	}
	return syncFolder(filepath.Dir(file))
}

func copyDatabase(ctx context.Context, source, target string) (err error) {
	query := url.Values{"mode": {"rw"}, "_pragma": {"busy_timeout(10000)", "query_only(0)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: source, RawQuery: query.Encode()}).String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", target)
	return err
}

// Restore makes a data folder dir of what Backup wrote to file. ErrExists: there is
// a database in dir already. The copy is checked before it is put in place.
func Restore(ctx context.Context, file, dir string) error {
	file, fileErr := filepath.Abs(file) // a database's name is a URL
	dir, dirErr := filepath.Abs(dir)
	if err := errors.Join(fileErr, dirErr); err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	target := filepath.Join(dir, DatabaseFile)
	for _, suffix := range []string{"", "-wal", "-shm"} { // SQLite would take a stray -wal for the copy's own
		if _, err := os.Lstat(target + suffix); err == nil {
			return fmt.Errorf("%w: %s", ErrExists, target+suffix)
		}
	}
	temp := target + ".restoring"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: restore: %w", err)
	}
	if err := restoreTo(ctx, file, temp); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("store: restore %s: %w", file, err)
	}
	if err := os.Rename(temp, target); err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	return syncFolder(dir)
}

func restoreTo(ctx context.Context, file, temp string) error {
	empty, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := empty.Close(); err != nil {
		return err
	}
	if err := copyDatabase(ctx, file, temp); err != nil {
		return err
	}
	db, err := openDB(temp, 1)
	if err != nil {
		return err
	}
	var verdict string
	err = db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&verdict)
	if err == nil && verdict != "ok" {
		err = fmt.Errorf("it is damaged: %s", verdict)
	}
	var hub int
	if err == nil {
		err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'jobs'").Scan(&hub)
	}
	if err == nil && hub == 0 {
		err = errors.New("it is no backup of a hub")
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return syncFile(temp)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncFolder makes a new name in dir as durable as what it names. Not every
// system can, and those that can't need not.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		return folder.Close()
	}
	return errors.Join(folder.Sync(), folder.Close())
}
