package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	_ "modernc.org/sqlite" // the driver named "sqlite"
)

// DatabaseFile is the database's name in the data folder; SQLite keeps two more
// beside it (-wal and -shm) while it is open.
const DatabaseFile = "slipway.db"

// Config says where the store is.
type Config struct {
	// Dir is the data folder; made with mode 0700 if missing. Required.
	Dir string
	// Readers is how many reads may run at once; default 4.
	Readers int
	// BatchLimit is how many writes one commit may take; default 256.
	BatchLimit int
	// Logger; nil discards.
	Logger hclog.Logger
}

func (c Config) withDefaults() Config {
	if c.Readers == 0 {
		c.Readers = 4
	}
	if c.BatchLimit == 0 {
		c.BatchLimit = 256
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("store: Dir is empty")
	case c.Readers < 1:
		return fmt.Errorf("store: Readers is %d: at least 1 is needed", c.Readers)
	case c.BatchLimit < 1:
		return fmt.Errorf("store: BatchLimit is %d: at least 1 is needed", c.BatchLimit)
	}
	return nil
}

// Store is an open data folder. Its methods may be called from many goroutines.
type Store struct {
	cfg     Config
	lock    *os.File
	writer  *writer
	writeDB *sql.DB
	readDB  *sql.DB

	close    sync.Once
	closeErr error
}

// Open locks the data folder, opens the database and brings its schema up to
// date. ErrLocked: another process has it. The caller closes the store.
func Open(ctx context.Context, cfg Config) (_ *Store, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil { // the database's name is a URL
		return nil, fmt.Errorf("store: data folder: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: make data folder: %w", err)
	}
	s := &Store{cfg: cfg}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if s.lock, err = lockFolder(cfg.Dir); err != nil {
		return nil, err
	}
	path := filepath.Join(cfg.Dir, DatabaseFile)
	if err := makePrivate(path); err != nil {
		return nil, err
	}
	if err := checkHeader(path); err != nil {
		return nil, err
	}
	if s.writeDB, err = openDB(path, 1, "synchronous(FULL)"); err != nil {
		return nil, err
	}
	if err := migrate(ctx, s.writeDB, cfg.Logger); err != nil {
		return nil, err
	}
	if s.readDB, err = openDB(path, cfg.Readers, "query_only(1)"); err != nil {
		return nil, err
	}
	if s.writer, err = newWriter(ctx, s.writeDB, cfg.BatchLimit); err != nil {
		return nil, err
	}
	return s, nil
}

// makePrivate sees to it that nobody else may read the database, and makes its file
// where there is none: SQLite would make it with the right of all to read, and gives
// the files beside it the mode that it has
// (https://sqlite.org/src/file/src/os_unix.c, findCreateFileMode).
func makePrivate(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = file.Close()
	}
	for _, suffix := range []string{"", "-wal", "-shm"} { // of an earlier version, perhaps one that was killed
		if err == nil {
			err = os.Chmod(path+suffix, 0o600)
		}
		if suffix != "" && errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("store: make database private: %w", err)
	}
	return nil
}

// header is what a database begins with (https://www.sqlite.org/fileformat.html, 1.3).
const header = "SQLite format 3\x00"

// checkHeader refuses a file that is no database; an empty one becomes one.
func checkHeader(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("store: open database: %w", err)
	}
	defer func() { _ = file.Close() }()
	begin := make([]byte, len(header))
	n, err := io.ReadFull(file, begin)
	switch {
	case errors.Is(err, io.EOF), string(begin[:n]) == header:
		return nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("store: read database: %w", err)
	}
	return fmt.Errorf("store: %s is no database: move it away, and restore a backup", path)
}

func openDB(path string, conns int, pragmas ...string) (*sql.DB, error) {
	query := url.Values{"_pragma": append([]string{
		"busy_timeout(10000)", "journal_mode(WAL)", "foreign_keys(1)",
		"temp_store(MEMORY)", // what a savepoint keeps to undo it needs no disk
	}, pragmas...)}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("store: open database: %w", err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// Dir is the data folder.
func (s *Store) Dir() string { return s.cfg.Dir }

// Write runs do in a transaction and returns when that is on disk, or undone.
// do runs in another goroutine, may run beside other writes' (never at the same
// time), must not call Write, and must not wait on anything but the database.
//
// An error of do undoes what it wrote and is returned as it is. ctx ends the
// wait only while do has not begun; then nothing was written. So the answer is
// never in doubt, save for an error of the commit itself.
func (s *Store) Write(ctx context.Context, do func(*Tx) error) error {
	return s.writer.write(ctx, do)
}

// Read runs do in a read-only transaction: one snapshot of what is committed.
func (s *Store) Read(ctx context.Context, do func(*Tx) error) error {
	tx, err := s.readDB.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("store: begin read: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	return do(&Tx{ctx: ctx, db: tx})
}

// Close finishes the writes that have begun, closes the database and gives the
// data folder free. Later writes return ErrClosed.
func (s *Store) Close() error {
	s.close.Do(func() {
		if s.writer != nil {
			s.writer.stop()
		}
		var errs []error
		for _, db := range []*sql.DB{s.readDB, s.writeDB} {
			if db != nil {
				errs = append(errs, db.Close())
			}
		}
		if s.lock != nil {
			errs = append(errs, s.lock.Close())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}
