package storage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/storage"
	"github.com/slipway-ci/slipway/tokens"
)

// smallDisk mounts a disk of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("slipway-test", dir, "tmpfs", 0, "mode=700,size="+size)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skipf("a small disk can't be mounted here: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

// fill takes up all the room there is but keep bytes, and returns what gives it back.
func fill(t *testing.T, dir string, keep int64) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "somebody-elses")
	file, err := os.Create(path)
	require.NoError(t, err)
	defer file.Close()
	var st syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &st))
	part := make([]byte, 4096)
	for left := int64(st.Bavail)*st.Bsize - keep; left > 0; left -= int64(len(part)) {
		if _, err := file.Write(part); errors.Is(err, syscall.ENOSPC) {
			break
		}
	}
	return func() { require.NoError(t, os.Remove(path)) }
}

// A disk that fills up to the last byte: nothing new is taken, logs are dropped
// with a mark, and results, leases and cancels are stored all the same.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "32m")
	guard, err := storage.NewGuard(storage.GuardConfig{Dir: dir, Reserve: 8 << 20, MinFree: 4 << 20, MinFreePercent: 1, Interval: time.Nanosecond})
	require.NoError(t, err)
	require.True(t, guard.Room().Reserve)
	k := newKept(t, dir, func(c *queue.Config) { c.StorageFull = guard.Full })
	ctx := t.Context()

	_, secret, err := k.queue.CreateToken(ctx, queue.TokenSpec{Kind: tokens.ManualRegistration})
	require.NoError(t, err)
	session, err := k.queue.Register(ctx, secret.Reveal(), []string{"a"})
	require.NoError(t, err)
	var claims []queue.Claim
	for range 50 {
		k.job(100, false)
		claim, found, err := k.queue.Claim(ctx, session.Token, false)
		require.NoError(t, err)
		require.True(t, found)
		claims = append(claims, claim)
	}
	waiting := []string{k.job(0, false), k.job(0, false)}

	// Under the mark nothing new is taken.
	free := fill(t, dir, 3<<20)
	require.True(t, guard.Full())
	_, err = k.queue.Submit(ctx, queue.JobSpec{Labels: []string{"a"}, Run: "x"})
	require.ErrorIs(t, err, queue.ErrStorageFull)
	_, found, err := k.queue.Claim(ctx, session.Token, false)
	require.NoError(t, err)
	require.False(t, found, "nothing is granted")
	require.True(t, guard.Room().Reserve, "the reserve is for worse")

	// Somebody takes the last byte, at once.
	more := filepath.Join(dir, "more")
	require.Error(t, os.WriteFile(more, make([]byte, 16<<20), 0o600))
	zero := 0
	for i, claim := range claims {
		renewal, err := k.queue.Renew(ctx, claim.LeaseToken, claim.JobID)
		require.NoError(t, err, "leases live on")
		key := logs.Key{Job: claim.JobID, Attempt: claim.Attempt}
		require.NoError(t, guard.Do(func() error { _, err := k.logs.Drop(key, 100, 1000); return err }))
		err = guard.Do(func() error {
			return k.queue.Finish(ctx, renewal.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded, ExitCode: &zero, Reason: strings.Repeat("r", 500), LogBytes: 1100})
		})
		require.NoError(t, err, "result %d must be stored", i)
	}
	for _, id := range waiting {
		require.NoError(t, guard.Do(func() error { _, err := k.queue.Cancel(ctx, id); return err }))
	}
	require.False(t, guard.Room().Reserve, "it was given up: that is what it is for")

	for _, claim := range claims {
		job, err := k.queue.Job(ctx, claim.JobID)
		require.NoError(t, err)
		require.Equal(t, queue.StateSucceeded, job.State)
		c, err := k.logs.Read(logs.Key{Job: claim.JobID, Attempt: claim.Attempt}, 100, 10)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(1000, true), fmt.Sprint(c.Missing, c.Full), "the log must say what it lacks")
	}

	// With room again everything goes on, the reserve first.
	free()
	require.NoError(t, os.Remove(more))
	require.False(t, guard.Full())
	require.True(t, guard.Room().Reserve)
	k.job(10, false)
	_, found, err = k.queue.Claim(ctx, session.Token, false)
	require.NoError(t, err)
	require.True(t, found)
}

// Appending to a log on a full disk keeps what was stored, and says that it is full.
func TestAppendOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "1m")
	s, err := logs.New(logs.Config{Dir: filepath.Join(dir, "logs"), PartBytes: 1 << 20})
	require.NoError(t, err)
	key := logs.Key{Job: "0192-job", Attempt: 1}
	var length int64
	for range 100 {
		if length, err = s.Append(key, length, make([]byte, 100_000)); err != nil {
			break
		}
	}
	require.Error(t, err)
	require.True(t, storage.IsFull(err), "%v", err)
	stored, err := s.Length(key)
	require.NoError(t, err)
	require.Equal(t, length, stored, "the answer must be what is there")
	require.Greater(t, length, int64(500_000))
}
