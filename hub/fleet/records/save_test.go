package records_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/fleet/records"
)

// disk is a Store that takes its time, and fails when it is to.
type disk struct {
	*records.Memory
	mu     sync.Mutex
	fails  bool
	writes []string
}

func (d *disk) Save(ctx context.Context, put []records.Record, gone []string) error {
	time.Sleep(time.Second)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes = append(d.writes, fmt.Sprintf("+%d -%d", len(put), len(gone)))
	if d.fails {
		return errors.New("the disk is full")
	}
	return d.Memory.Save(ctx, put, gone)
}

func (d *disk) fail(fails bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails = fails
}

// runners are what a Saver looks at.
type runners struct {
	mu  sync.Mutex
	all map[string]bool
}

func (r *runners) set(id string, is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[id] = is
}

func (r *runners) look(ids map[string]bool) (put []records.Record, gone []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range ids {
		if r.all[id] {
			put = append(put, records.Record{Runner: id, Host: "a"})
		} else {
			gone = append(gone, id)
		}
	}
	return put, gone
}

func TestSaver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, is := &disk{Memory: records.NewMemory()}, &runners{all: map[string]bool{}}
		s := records.NewSaver(store, is.look, hclog.NewNullLogger())
		ctx, stop := context.WithCancel(t.Context())
		var ran sync.WaitGroup
		ran.Go(func() { s.Run(ctx) })
		save := func(id string, there bool) *records.Batch {
			is.set(id, there)
			return s.Save(id)
		}
		stored := func() []string {
			list, err := store.Load(t.Context())
			require.NoError(t, err)
			ids := map[string]bool{}
			for _, r := range list {
				ids[r.Runner] = true
			}
			return slices.Sorted(maps.Keys(ids))
		}

		began := time.Now()
		require.NoError(t, save("r0", true).Wait(t.Context()))
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, []string{"r0"}, stored(), "it is written when Wait returns")

		save("r1", true)
		synctest.Wait() // it is being written
		for i := range 5 {
			save(fmt.Sprint("n", i), true)
		}
		require.NoError(t, save("r0", false).Wait(t.Context()))
		require.Equal(t, []string{"n0", "n1", "n2", "n3", "n4", "r1"}, stored())
		require.Equal(t, []string{"+1 -0", "+1 -0", "+5 -1"}, store.writes, "what comes meanwhile is one write")

		store.fail(true)
		require.EqualError(t, save("r2", true).Wait(t.Context()), "the disk is full")
		is.set("r2", false) // nobody says so: the next try looks anew
		store.fail(false)
		time.Sleep(5 * time.Second)
		require.NotContains(t, stored(), "r2")
		require.Equal(t, "+0 -1", store.writes[len(store.writes)-1], "what could not be written is tried again, as it is then")

		brief, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, save("r3", true).Wait(brief), context.DeadlineExceeded)
		synctest.Wait()
		last := save("r4", true)
		stop()
		ran.Wait()
		require.NoError(t, last.Wait(t.Context()), "what is left at the end is written")
		require.Subset(t, stored(), []string{"r3", "r4"})
	})
}

// What was stored by an earlier version is read as it was, and all of a record comes back.
func TestRecordsAreReadAsTheyWereStored(t *testing.T) {
	for _, text := range []string{
		`{"runner":"r","host":"h","labels":{"a":"b"},"doomed":true,"cpu":1.5,"memory":7,"gpus":["g"]}`,
		`{"runner":"r","host":"h","created":"2026-01-02T03:04:05Z","end":{"state":"failed","exit_code":3,"oom_killed":true,"error":"e","started":"2026-01-02T03:04:06Z","finished":"2026-01-02T03:04:07Z"}}`,
	} {
		var r records.Record
		require.NoError(t, json.Unmarshal([]byte(text), &r))
		back, err := json.Marshal(r)
		require.NoError(t, err)
		require.Equal(t, text, string(back))
	}
}
