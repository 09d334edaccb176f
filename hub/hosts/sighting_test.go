package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts/seen"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

func facts(free int64, runtimes ...string) *fleet.Facts {
	return &fleet.Facts{OS: "linux", Arch: "amd64", CPUs: 8, Memory: 1 << 34, Runtimes: runtimes, Disk: fleet.Disk{Free: free, Total: 1 << 40}}
}

// written is how much was written to the database's log so far.
func (w *world) written() int64 {
	w.t.Helper()
	info, err := os.Stat(filepath.Join(w.dir, store.DatabaseFile+"-wal"))
	require.NoError(w.t, err)
	return info.Size()
}

// row is the host as it is on disk, without what is in memory alone.
func (w *world) row(id string) (h Host) {
	w.t.Helper()
	require.NoError(w.t, w.read(w.t.Context(), func(t *tx) (err error) {
		h, err = t.find(id)
		return err
	}))
	return h
}

func TestSightingsAreKept(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	h, _ := w.enrolled("a")
	require.True(t, h.LastSeenAt.IsZero())
	require.NoError(t, w.Seen(ctx, h.ID, Sighting{Agent: h.Agent, Engine: "ENG:1", Version: "v1.2.0", Facts: facts(5, "runc")}))
	require.Equal(t, "ENG:1", w.fleet.told(h.ID).Engine, "the fleet knows the pair from now on")
	require.Equal(t, h.Version, w.host("a").Version, "what is seen is no edit")

	w = w.reopen()
	seen := w.host("a")
	require.Equal(t, *facts(5, "runc"), seen.Facts)
	require.Equal(t, "v1.2.0", seen.AgentVersion)
	require.False(t, seen.LastSeenAt.IsZero())
	told := w.fleet.told(h.ID)
	require.Equal(t, []string{h.Agent, "ENG:1"}, []string{told.Agent, told.Engine}, "and after a restart")
	require.ErrorIs(t, w.Seen(ctx, newID(), Sighting{}), ErrNotFound)
}

// A thousand agents that beat, tell their disks and come back must not write each
// time.
func TestHeartbeatsCostNoWrite(t *testing.T) {
	const n = 200
	w := newWorld(t)
	ctx := t.Context()
	ids := make([]string, n)
	require.NoError(t, w.write(ctx, func(t *tx) error {
		for i := range ids {
			h, err := t.add(HostSpec{Name: fmt.Sprint("h", i)}, false)
			if err != nil {
				return err
			}
			if ids[i] = h.ID; i < 20 {
				err = t.setCredential(h.ID, tokens.New(tokens.Agent).Digest())
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
	told := func(i int, free int64) Sighting {
		return Sighting{Agent: agentA, Engine: fmt.Sprint("ENG:", i), Version: "v1.2.0", Facts: facts(free, "runc")}
	}
	for i, id := range ids[:20] {
		require.NoError(t, w.Seen(ctx, id, told(i, 1)))
	}
	w = w.reopen() // which leaves an empty log
	require.NoError(t, w.flush(ctx))
	before := w.written()
	for beat := range int64(10) {
		for i, id := range ids[:20] {
			require.NoError(t, w.Seen(ctx, id, told(i, beat)))
			w.Session(ctx, fleet.SessionEvent{Kind: fleet.StatsTold, Host: id, Usage: fleet.Usage{Disk: fleet.Disk{Free: 100 + beat, Total: 1}}})
		}
	}
	for _, id := range ids {
		w.seen.Alive(id)
	}
	require.Equal(t, before, w.written(), "a sign of life was written by itself")
	require.Equal(t, int64(109), w.host("h0").Facts.Disk.Free, "but it is known")
	require.Equal(t, int64(1), w.row(ids[0]).Facts.Disk.Free)

	require.NoError(t, w.flush(ctx))
	require.Greater(t, w.written(), before)
	require.Equal(t, int64(109), w.row(ids[0]).Facts.Disk.Free)
	require.False(t, w.row(ids[n-1]).LastSeenAt.IsZero())
	before = w.written()
	require.NoError(t, w.flush(ctx))
	require.Equal(t, before, w.written(), "what was written is not written again")
	w.seen.Alive(ids[0])
	w.exec(`CREATE TRIGGER broken BEFORE UPDATE OF seen_at ON hosts BEGIN SELECT raise(ABORT, 'broken'); END`)
	require.Error(t, w.flush(ctx))
	w.exec(`DROP TRIGGER broken`)
	before = w.written()
	require.NoError(t, w.flush(ctx))
	require.Greater(t, w.written(), before, "what could not be written is written later")
	require.NoError(t, w.Seen(ctx, ids[0], Sighting{Facts: facts(1, "runc", "sysbox-runc")}))
	require.Contains(t, w.row(ids[0]).Facts.Runtimes, "sysbox-runc", "what lasts is written at once")
	require.NoError(t, w.Seen(ctx, ids[1], Sighting{Version: newer}))
	require.Equal(t, newer, w.row(ids[1]).AgentVersion)
}

// An agent that tells something else all the time costs no more writes than one
// that does not, and floods nobody with events.
func TestAnAgentCanNotMakeTheHubWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx := t.Context()
		h, _ := w.enrolled("a")
		w = w.reopen()
		require.NoError(t, w.Seen(ctx, h.ID, Sighting{Agent: h.Agent, Engine: "ENG:1", Version: "v0", Facts: facts(1)}))
		before := w.written()
		for n := range 300 {
			w.Session(ctx, fleet.SessionEvent{
				Kind: fleet.Connected, Host: h.ID, Agent: h.Agent, Engine: "ENG:1", Version: fmt.Sprint("v", n), Facts: *facts(1, fmt.Sprint("runtime-", n)),
			})
			w.Session(ctx, fleet.SessionEvent{Kind: fleet.Disconnected, Host: h.ID})
		}
		require.Equal(t, before, w.written())
		require.Equal(t, "v299", w.host("a").AgentVersion, "but it is known")
		require.Len(t, w.told(), seen.MostTold)
		require.NoError(t, w.flush(ctx))
		require.Equal(t, "v299", w.row(h.ID).AgentVersion)
		require.Equal(t, []string{"runtime-299"}, w.row(h.ID).Facts.Runtimes)
		require.Equal(t, "host-flapping host/a", w.told()[seen.MostTold])
		after := w.written()
		time.Sleep(time.Minute)
		require.NoError(t, w.Seen(ctx, h.ID, Sighting{Version: "v299", Facts: facts(1, "runtime-299")}))
		require.Equal(t, after, w.written(), "what was written with the others is not news")
	})
}

func TestRunWritesWhoWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h, _ := w.enrolled("a")
		w.fleet.is(h.ID, online("v1.2.0", 0))
		stop := w.run()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.WithinDuration(t, time.Now(), w.row(h.ID).LastSeenAt, 90*time.Second, "who is online is seen")
		w.fleet.is(h.ID, fleet.HostState{})
		time.Sleep(2 * time.Minute)
		w.seen.Alive(h.ID)
		at := time.Now()
		stop()
		require.WithinDuration(t, at, w.row(h.ID).LastSeenAt, time.Second, "the last ones are written at the end")
	})
}

func TestOneEngineIsOneHost(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	a, _ := w.enrolled("a")
	b, _ := w.enrolled("b")
	require.NoError(t, w.Seen(ctx, a.ID, Sighting{Agent: a.Agent, Engine: "ENG:1"}))
	err := w.Seen(ctx, b.ID, Sighting{Agent: b.Agent, Engine: "ENG:1", Version: "v9.9.9"})
	require.ErrorIs(t, err, ErrDuplicated)
	require.ErrorContains(t, err, "host a")
	require.Empty(t, w.host("b").AgentVersion, "nothing of it is kept")
	require.ErrorIs(t, w.Seen(ctx, a.ID, Sighting{Agent: b.Agent}), ErrDuplicated, "another agent with the host's token")
	require.NoError(t, w.Remove(ctx, "a", 0, true))
	require.NoError(t, w.Seen(ctx, b.ID, Sighting{Agent: b.Agent, Engine: "ENG:1"}), "a removed host has no engine")
}

func TestSessionsAreTold(t *testing.T) {
	w := newWorld(t)
	h, _ := w.enrolled("a")
	ctx := t.Context()
	w.Session(ctx, fleet.SessionEvent{Kind: fleet.Connected, Host: h.ID, Agent: h.Agent, Engine: "ENG:1", Version: "v1.2.0", Facts: *facts(1)})
	w.Session(ctx, fleet.SessionEvent{Kind: fleet.FactsTold, Host: h.ID, Facts: *facts(2, "runsc")})
	w.Session(ctx, fleet.SessionEvent{Kind: fleet.StatsTold, Host: h.ID, Usage: fleet.Usage{Disk: fleet.Disk{Free: 3, Total: 9}}})
	w.Session(ctx, fleet.SessionEvent{Kind: fleet.BackedOff, Host: h.ID, Template: "small", Reason: "host a: image evil:1 is not allowed"})
	w.Session(ctx, fleet.SessionEvent{Kind: fleet.Duplicated, Host: h.ID, Reason: "two agents"})
	w.Session(ctx, fleet.SessionEvent{Kind: fleet.Disconnected, Host: h.ID, Reason: "gone"})
	stray := newID() // of a host that was removed while its agent came in
	require.NoError(t, w.fleet.SetHost(fleet.Host{ID: stray}))
	w.Session(ctx, fleet.SessionEvent{Kind: fleet.Connected, Host: stray})
	require.Equal(t, []string{stray}, w.fleet.forgotten, "it is sent away again")
	seen := w.host("a")
	require.Equal(t, "v1.2.0", seen.AgentVersion)
	require.Equal(t, []string{"runsc"}, seen.Facts.Runtimes)
	require.Equal(t, fleet.Disk{Free: 3, Total: 9}, seen.Facts.Disk)
	require.Equal(t, []string{"host-online host/a", "host-backing-off host/a", "host-duplicated host/a", "host-offline host/a"}, w.told()[2:])
}

// An engine that a host has claimed is free for the true one when the liar is revoked,
// and what its agent said on the way does not take it again.
func TestARevokedHostHasNoEngine(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	liar, _ := w.enrolled("liar")
	honest, _ := w.enrolled("true")
	require.NoError(t, w.Seen(ctx, liar.ID, Sighting{Agent: liar.Agent, Engine: "ENG:1"}))
	require.Equal(t, "ENG:1", w.fleet.told(liar.ID).Engine)
	require.ErrorIs(t, w.Seen(ctx, honest.ID, Sighting{Agent: honest.Agent, Engine: "ENG:1"}), ErrDuplicated)

	require.NoError(t, w.Revoke(ctx, "liar"))
	require.Empty(t, w.fleet.told(liar.ID).Engine, "the fleet is told")
	w.forget(liar.ID) // as after a restart
	late := Sighting{Agent: liar.Agent, Engine: "ENG:1", Facts: facts(1, "late")}
	require.NoError(t, w.Seen(ctx, liar.ID, late))
	require.NoError(t, w.Seen(ctx, honest.ID, Sighting{Agent: honest.Agent, Engine: "ENG:1"}))
	require.Equal(t, "ENG:1", w.fleet.told(honest.ID).Engine)

	_, i, err := w.Reenrol(ctx, "liar", ReenrolSpec{})
	require.NoError(t, err)
	_, err = w.Enrol(ctx, i.Token, liar.Agent, tokens.New(tokens.Agent).Digest())
	require.NoError(t, err)
	require.NoError(t, w.Seen(ctx, liar.ID, Sighting{Agent: liar.Agent, Engine: "ENG:2"}))
	require.Equal(t, "ENG:2", w.fleet.told(liar.ID).Engine, "enrolled anew it has one again")
}

// What the fleet shows of a host that is away after a restart comes from here.
func TestTheFleetIsToldWhatWasLastKnown(t *testing.T) {
	w := newWorld(t)
	h, _ := w.enrolled("a")
	require.True(t, w.fleet.told(h.ID).LastSeen.IsZero(), "it was never there")
	require.NoError(t, w.Seen(t.Context(), h.ID, Sighting{Agent: h.Agent, Engine: "ENG:1", Facts: facts(5, "runc")}))
	w = w.reopen()
	told := w.fleet.told(h.ID)
	require.False(t, told.LastSeen.IsZero())
	require.Equal(t, *facts(5, "runc"), told.LastFacts)
}
