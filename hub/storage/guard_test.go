package storage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/storage"
)

func TestGuardTellsFullAndKeepsAReserve(t *testing.T) {
	dir := t.TempDir()
	open := func(least int64) *storage.Guard {
		g, err := storage.NewGuard(storage.GuardConfig{Dir: dir, Reserve: 1 << 20, MinFree: least, MinFreePercent: 1e-9, Interval: time.Nanosecond})
		require.NoError(t, err)
		return g
	}
	g := open(1)
	require.False(t, g.Full())
	require.True(t, g.Room().Reserve)
	info, err := os.Stat(filepath.Join(dir, storage.ReserveFile))
	require.NoError(t, err)
	require.Equal(t, int64(1<<20), info.Size())
	require.GreaterOrEqual(t, info.Sys().(*syscall.Stat_t).Blocks*512, int64(1<<20), "a reserve with holes keeps no room")

	g = open(1 << 62)
	require.True(t, g.Full())

	by, err := storage.NewGuard(storage.GuardConfig{Dir: dir, Reserve: 1, MinFree: 1, MinFreePercent: 100})
	require.NoError(t, err)
	require.True(t, by.Full(), "the share of the disk counts as well")
}

func TestDoGivesUpTheReserveOnce(t *testing.T) {
	dir := t.TempDir()
	g, err := storage.NewGuard(storage.GuardConfig{Dir: dir, Reserve: 1 << 20, MinFree: 1, MinFreePercent: 1e-9, Interval: time.Hour})
	require.NoError(t, err)
	calls := 0
	require.NoError(t, g.Do(func() error {
		if calls++; calls == 1 {
			return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
		}
		require.NoFileExists(t, filepath.Join(dir, storage.ReserveFile))
		return nil
	}))
	require.Equal(t, 2, calls)
	require.True(t, g.Full(), "who had to touch the reserve has no room")

	full := syscall.ENOSPC
	calls = 0
	require.ErrorIs(t, g.Do(func() error { calls++; return full }), full)
	require.Equal(t, 1, calls, "there is nothing left to give up")

	other := errors.New("other")
	calls = 0
	require.ErrorIs(t, g.Do(func() error { calls++; return other }), other)
	require.Equal(t, 1, calls)
}

func TestGuardRunMakesTheReserveAgain(t *testing.T) {
	dir := t.TempDir()
	g, err := storage.NewGuard(storage.GuardConfig{Dir: dir, Reserve: 1 << 20, MinFree: 1, MinFreePercent: 1e-9, Interval: 5 * time.Millisecond})
	require.NoError(t, err)
	first := true
	require.NoError(t, g.Do(func() error {
		if first {
			first = false
			return syscall.ENOSPC
		}
		return nil
	}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	require.Eventually(t, func() bool {
		info, err := os.Stat(filepath.Join(dir, storage.ReserveFile))
		return err == nil && info.Size() == 1<<20
	}, 30*time.Second, 5*time.Millisecond, "there is room, so the reserve must come back")
	cancel()
	require.NoError(t, <-done)
}

func TestRunTellsThatThereIsRoomAgain(t *testing.T) {
	again := make(chan struct{}, 1)
	fail := true
	g, err := storage.NewGuard(storage.GuardConfig{
		Dir: t.TempDir(), Reserve: 1 << 20, MinFree: 1, MinFreePercent: 1e-9, Interval: time.Millisecond,
		OnRoom: func(context.Context) error {
			if fail {
				fail = false
				return errors.New("not yet")
			}
			again <- struct{}{}
			return nil
		},
	})
	require.NoError(t, err)
	calls := 0
	require.NoError(t, g.Do(func() error {
		if calls++; calls == 1 {
			return syscall.ENOSPC
		}
		return nil
	}))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	<-again
	cancel()
	require.NoError(t, <-ended)
	require.Empty(t, again, "once")
}
