package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func countJobs(t *testing.T, s *Store) (n int) {
	t.Helper()
	require.NoError(t, s.Read(t.Context(), func(tx *Tx) (err error) {
		n, _, err = One(tx, Value[int], `SELECT count(*) FROM settings WHERE name LIKE 'k%'`)
		return err
	}))
	return n
}

// A backup is of one instant: pairs that are written together are both in it, or
// neither, though the hub writes all the while.
func TestBackupWhileTheHubWrites(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{Dir: dir})
	require.NoError(t, err)
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	started := make(chan struct{})
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_ = s.Write(ctx, func(tx *Tx) error {
				for _, side := range []string{"a", "b"} {
					if _, err := tx.Exec(`INSERT INTO settings (name, value) VALUES (?, ?)`, fmt.Sprintf("k%d%s", i, side), "v"); err != nil {
						return err
					}
				}
				return nil
			})
			if i == 10 {
				close(started)
			}
		}
	})
	<-started
	files := filepath.Join(t.TempDir(), "backups")
	require.NoError(t, os.Mkdir(files, 0o700))
	for i := range 5 {
		file := filepath.Join(files, fmt.Sprint(i))
		require.NoError(t, Backup(t.Context(), dir, file))
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		require.ErrorIs(t, Backup(t.Context(), dir, file), ErrExists)

		restored := t.TempDir()
		require.NoError(t, Restore(t.Context(), file, restored))
		r, err := Open(t.Context(), Config{Dir: restored})
		require.NoError(t, err)
		n := countJobs(t, r)
		require.GreaterOrEqual(t, n, 20)
		require.Zero(t, n%2, "a pair is torn")
		require.ErrorIs(t, Restore(t.Context(), file, restored), ErrLocked)
		require.NoError(t, r.Close())
		require.ErrorIs(t, Restore(t.Context(), file, restored), ErrExists)
	}
	stop()
	writer.Wait()
	left, err := os.ReadDir(files)
	require.NoError(t, err)
	require.Len(t, left, 5, "no temporary file is left")
}

func TestRestoreRefusesWhatIsNoBackup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("not a database, and long enough to be looked at as one"), 0o600))
	dir := t.TempDir()
	require.Error(t, Restore(t.Context(), file, dir))
	_, err := os.Stat(filepath.Join(dir, DatabaseFile))
	require.ErrorIs(t, err, os.ErrNotExist, "nothing is left behind")
	require.ErrorIs(t, Restore(t.Context(), file+"x", dir), os.ErrNotExist)
	require.ErrorIs(t, Backup(t.Context(), dir, file+"x"), os.ErrNotExist)
}

// People name folders as they stand in front of them.
func TestBackupAndRestoreOfRelativePaths(t *testing.T) {
	t.Chdir(t.TempDir())
	s, err := Open(t.Context(), Config{Dir: "data"})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, Backup(t.Context(), "data", "backup"))
	require.NoError(t, Restore(t.Context(), "backup", "restored"))
	again, err := Open(t.Context(), Config{Dir: "restored"})
	require.NoError(t, err)
	require.NoError(t, again.Close())
}
