// Package storetest makes data folders for tests. To migrate a new database takes
// ten times as long as to open one that is up to date, so it is done once a process.
package storetest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/hub/store"
)

// Dir is a folder of the test's own with an empty database that needs no migration.
func Dir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	Seed(t, dir)
	return dir
}

// Seed puts that database into dir, which it makes if need be.
func Seed(t testing.TB, dir string) {
	t.Helper()
	data, err := migrated()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, store.DatabaseFile), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// migrated is the database file of a store that was opened and closed.
var migrated = sync.OnceValues(func() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "storetest-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := store.Open(context.Background(), store.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, store.DatabaseFile))
})
