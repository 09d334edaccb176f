package hosts

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/internal/crashtest"
)

// saveUntilKilled saves records, four at a time, and promises them after Save returned.
func saveUntilKilled(dir string) {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Dir: dir})
	crashtest.Must(err)
	r, err := New(ctx, Config{Store: s})
	crashtest.Must(err)
	records := r.Records()
	for n := 0; ; n++ {
		var put []fleet.Record
		var ids []any
		for range 4 {
			id := newID()
			ids = append(ids, id)
			put = append(put, fleet.Record{Runner: id, Host: "h", Labels: map[string]string{"n": fmt.Sprint(n)}, Doomed: n%2 == 0})
		}
		crashtest.Must(records.Save(ctx, put, nil))
		crashtest.Say(ids...)
	}
}

// TestRecordsSurviveAKill kills a hub again and again: a record whose Save has
// returned is there afterwards, and none is there in part.
func TestRecordsSurviveAKill(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(migrated)))
	var promised []string
	for range 5 {
		promised = append(promised, crashtest.Kill(t, dir, 5+rand.IntN(40))...)
	}
	w := openWorld(t, dir)
	records, err := w.Records().Load(t.Context())
	require.NoError(t, err)
	require.Zero(t, len(records)%4, "a Save is there whole or not at all")
	var kept []string
	for _, r := range records {
		kept = append(kept, r.Runner)
		require.Equal(t, "h", r.Host)
		require.NotEmpty(t, r.Labels["n"])
	}
	for _, line := range promised {
		for _, id := range strings.Fields(line) {
			require.True(t, slices.Contains(kept, id), "the record of runner %s was saved and is lost", id)
		}
	}
	t.Logf("%d records kept, %d promised", len(kept), 4*len(promised))
}

// TestARecordIsOnDiskWhenSaveReturns copies the files the moment Save returns, with
// the hub still running, and opens the copy: what a power cut would leave.
func TestARecordIsOnDiskWhenSaveReturns(t *testing.T) {
	w := newWorld(t)
	h, _ := w.add("a")
	want := fleet.Record{Runner: newID(), Host: h.ID, Labels: map[string]string{"template": "x", "ü": "\n"}, CPU: 1.5, Memory: 1 << 40, GPUs: []string{"GPU-1"}}
	require.NoError(t, w.Records().Save(t.Context(), []fleet.Record{want}, nil))
	copyDir := t.TempDir()
	for _, name := range []string{store.DatabaseFile, store.DatabaseFile + "-wal"} {
		content, err := os.ReadFile(filepath.Join(w.dir, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(copyDir, name), content, 0o600))
	}
	records, err := openWorld(t, copyDir).Records().Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, []fleet.Record{want}, records, "all of a record comes back")
}

// TestRecordsAreThoseOfAModel holds the store against the one in memory.
func TestRecordsAreThoseOfAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := copied(t, t.TempDir())
		defer func() { _ = w.store.Close() }()
		model := fleet.NewMemoryStore()
		id := rapid.SampledFrom([]string{"r1", "r2", "r3", "r4", "r5"})
		record := rapid.Custom(func(rt *rapid.T) fleet.Record {
			return fleet.Record{
				Runner: id.Draw(rt, "runner"), Host: rapid.SampledFrom([]string{"h1", "h2"}).Draw(rt, "host"), Doomed: rapid.Bool().Draw(rt, "doomed"),
				Labels: rapid.MapOfN(rapid.String(), rapid.String(), 1, 3).Draw(rt, "labels"), CPU: rapid.Float64Range(0, 64).Draw(rt, "cpu"),
			}
		})
		rt.Repeat(map[string]func(*rapid.T){
			"save": func(rt *rapid.T) {
				put := rapid.SliceOfNDistinct(record, 0, 4, func(r fleet.Record) string { return r.Runner }).Draw(rt, "put")
				gone := rapid.SliceOfNDistinct(id, 0, 2, rapid.ID).Draw(rt, "gone")
				require.NoError(t, model.Save(t.Context(), put, gone))
				require.NoError(t, w.Records().Save(t.Context(), put, gone))
			},
			"restart": func(rt *rapid.T) {
				if rapid.IntRange(0, 4).Draw(rt, "seldom") == 0 {
					w = w.reopen()
				}
			},
			"": func(*rapid.T) {
				want, err := model.Load(t.Context())
				require.NoError(t, err)
				got, err := w.Records().Load(t.Context())
				require.NoError(t, err)
				require.ElementsMatch(t, want, got)
			},
		})
	})
}

func TestASaveThatFailsLeavesNothing(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Records().Save(t.Context(), []fleet.Record{{Runner: "old", Host: "h"}}, nil))
	bad := fleet.Record{Runner: "bad", Host: "h", CPU: math.NaN()} // no JSON
	require.Error(t, w.Records().Save(t.Context(), []fleet.Record{{Runner: "new", Host: "h"}, bad}, []string{"old"}))
	records, err := w.Records().Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, []fleet.Record{{Runner: "old", Host: "h"}}, records)
}
