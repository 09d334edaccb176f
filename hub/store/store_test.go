package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func put(name, value string) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES (?, ?)`, name, value)
		return err
	}
}

func names(t *testing.T, s *store.Store) (out []string) {
	t.Helper()
	require.NoError(t, s.Read(t.Context(), func(tx *store.Tx) (err error) {
		out, err = store.All(tx, store.Value[string], `SELECT name FROM settings ORDER BY name`)
		return err
	}))
	return out
}

func TestWhatIsWrittenIsThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	require.NoError(t, s.Write(t.Context(), put("a", "1")))
	require.Equal(t, []string{"a"}, names(t, s))
	require.NoError(t, s.Close())
	require.Equal(t, []string{"a"}, names(t, open(t, dir)))
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.ErrorIs(t, err, store.ErrLocked)
	require.ErrorContains(t, err, dir, "the message must say which folder")
	require.Equal(t, []string(nil), names(t, s), "the holder must not be disturbed")
	require.NoError(t, s.Close())
	open(t, dir)
}

func TestCommitIsDurableAndInWAL(t *testing.T) {
	s := open(t, t.TempDir())
	got := map[string]string{}
	require.NoError(t, s.Write(t.Context(), func(tx *store.Tx) error {
		for _, pragma := range []string{"synchronous", "journal_mode", "foreign_keys"} {
			value, _, err := store.One(tx, store.Value[string], `PRAGMA `+pragma)
			if err != nil {
				return err
			}
			got[pragma] = value
		}
		return nil
	}))
	require.Equal(t, map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1"}, got)
}

// Job scripts are in it: nobody else on the machine reads it, not even when its folder
// was opened up, or an earlier version made it with the right of all to read.
func TestTheDatabaseIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no modes here")
	}
	dir := t.TempDir()
	private := func() {
		t.Helper()
		for _, suffix := range []string{"", "-wal", "-shm"} {
			info, err := os.Stat(filepath.Join(dir, store.DatabaseFile) + suffix)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), suffix)
		}
	}
	s := open(t, dir)
	require.NoError(t, s.Write(t.Context(), put("a", "1")))
	private()
	// What is open keeps its -wal and -shm: so a killed process leaves them.
	left := t.TempDir()
	require.NoError(t, os.CopyFS(left, os.DirFS(dir)))
	dir = left
	for _, suffix := range []string{"", "-wal", "-shm"} {
		require.NoError(t, os.Chmod(filepath.Join(dir, store.DatabaseFile)+suffix, 0o644))
	}
	s = open(t, dir)
	require.Equal(t, []string{"a"}, names(t, s))
	private()
}

// A goroutine that ends inside a write (t.FailNow does that) must not hang the rest.
func TestAWriteThatEndsTheWriter(t *testing.T) {
	s := open(t, t.TempDir())
	require.ErrorIs(t, s.Write(t.Context(), func(*store.Tx) error { runtime.Goexit(); return nil }), store.ErrClosed)
	require.ErrorIs(t, s.Write(t.Context(), put("a", "")), store.ErrClosed)
}

func TestAWriteThatFailsIsUndoneAlone(t *testing.T) {
	s := open(t, t.TempDir())
	// One write holds the writer, so that the others share a batch.
	entered, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Write(context.Background(), func(*store.Tx) error { close(entered); <-leave; return nil })
	})
	<-entered
	boom := errors.New("boom")
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					errs[i] = fmt.Errorf("panic: %v", r)
				}
			}()
			errs[i] = s.Write(context.Background(), func(tx *store.Tx) error {
				if err := put(fmt.Sprintf("%02d", i), "x")(tx); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return boom
				case 2:
					panic("oh")
				}
				return nil
			})
		})
	}
	close(leave)
	wg.Wait()
	var want []string
	for i, err := range errs {
		switch i % 3 {
		case 0:
			require.NoError(t, err)
			want = append(want, fmt.Sprintf("%02d", i))
		case 1:
			require.ErrorIs(t, err, boom)
		case 2:
			require.EqualError(t, err, "panic: oh", "a panic belongs to the one who wrote it")
		}
	}
	require.Equal(t, want, names(t, s))
}

func TestAContextEndsTheWaitOnlyBeforeTheWriteBegan(t *testing.T) {
	s := open(t, t.TempDir())
	entered, leave := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var begun error
	wg.Go(func() {
		begun = s.Write(ctx, func(tx *store.Tx) error { close(entered); <-leave; return put("begun", "")(tx) })
	})
	<-entered
	cancel()
	require.ErrorIs(t, s.Write(ctx, put("never", "")), context.Canceled)
	close(leave)
	wg.Wait()
	require.NoError(t, begun, "a write that has begun is answered by its outcome, not by the context")
	require.Equal(t, []string{"begun"}, names(t, s))
}

func TestClosedStoreRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Write(t.Context(), put("a", "")), store.ErrClosed)
}

func TestReadCannotWrite(t *testing.T) {
	s := open(t, t.TempDir())
	require.Error(t, s.Read(t.Context(), put("a", "")))
	require.Empty(t, names(t, s))
}

func TestAFileThatIsNoDatabaseIsNamedAndKept(t *testing.T) {
	for _, text := range []string{"x", strings.Repeat("no database\n", 1000)} {
		dir := t.TempDir()
		path := filepath.Join(dir, store.DatabaseFile)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := store.Open(t.Context(), store.Config{Dir: dir})
		require.EqualError(t, err, "store: "+path+" is no database: move it away, and restore a backup")
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(kept))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := store.Open(ctx, store.Config{Dir: t.TempDir()})
	require.EqualError(t, err, "store: migrate database: context canceled", "an interrupt is no fault of the database")
}

func TestARelativeFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	s, err := store.Open(t.Context(), store.Config{Dir: "data"})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.FileExists(t, filepath.Join("data", store.DatabaseFile))
}

// What mirrors the database in memory must follow it step by step, and be there when
// the writer is told.
func TestAfterRunsInTheOrderOfTheCommits(t *testing.T) {
	s := open(t, t.TempDir())
	var order []string
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			name := fmt.Sprintf("%02d", i)
			ran := false
			err := s.Write(context.Background(), func(tx *store.Tx) error {
				n, _, err := store.One(tx, store.Value[int], `SELECT count(*) FROM settings`)
				if err != nil {
					return err
				}
				tx.After(func() { order = append(order, fmt.Sprint(n)); ran = true })
				if i%5 == 0 {
					return errors.New("undone")
				}
				return put(name, "")(tx)
			})
			if ran != (err == nil) {
				t.Errorf("write %s: After ran: %t, though the write's outcome is %v", name, ran, err)
			}
		})
	}
	wg.Wait()
	require.Len(t, order, 40)
	for i, n := range order {
		require.Equal(t, fmt.Sprint(i), n, "After must see the commits in their order")
	}
	require.ErrorIs(t, s.Write(t.Context(), func(tx *store.Tx) error {
		tx.After(func() { t.Error("After ran of a write that was undone") })
		return errBoom
	}), errBoom)
}

var errBoom = errors.New("boom")
