package events_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/store"
)

func (w *world) record(e events.Entry) {
	w.t.Helper()
	require.NoError(w.t, w.Record(w.t.Context(), e))
}

func (w *world) entries(f events.AuditFilter) []events.Entry {
	w.t.Helper()
	list, _, err := w.Entries(w.t.Context(), f)
	require.NoError(w.t, err)
	return list
}

func TestEntriesAreListed(t *testing.T) {
	w := newWorld(t)
	want := events.Entry{
		TokenID: "t1", TokenName: "ci", Role: "operator", Address: "192.0.2.1", RequestID: "r1", Method: "PATCH", Route: "/api/v1/hosts/{name}",
		Action: "edit-host", Object: "host/a", Status: 200, Outcome: "done", Detail: "d",
		Changes: []events.Change{{Field: "max_runners", Before: 2.0, After: 4.0}, {Field: "labels", After: map[string]any{"a": "b"}}},
	}
	w.record(want)
	w.record(events.Entry{TokenID: "t2", Action: "remove-host", Object: "host/ab", Status: 403, Outcome: "forbidden"})
	w.record(events.Entry{Role: events.RoleLocal, Action: "backup", Object: "hub", Outcome: "done"})

	all := w.entries(events.AuditFilter{})
	require.Len(t, all, 3)
	require.Equal(t, "backup", all[0].Action, "the newest first")
	got := all[2]
	require.WithinDuration(t, time.Now(), got.At, time.Minute)
	want.ID, want.At = got.ID, got.At
	require.Equal(t, want, got)

	for _, c := range []struct {
		filter events.AuditFilter
		want   int
	}{
		{events.AuditFilter{Object: "host"}, 2}, {events.AuditFilter{Object: "host/a"}, 1}, {events.AuditFilter{Object: "hos"}, 0},
		{events.AuditFilter{Action: "edit-host"}, 1}, {events.AuditFilter{TokenID: "t2"}, 1}, {events.AuditFilter{Outcome: "done"}, 2},
		{events.AuditFilter{Since: time.Now().Add(-time.Hour)}, 3}, {events.AuditFilter{Until: time.Now().Add(-time.Hour)}, 0},
		{events.AuditFilter{Object: "host", Outcome: "forbidden"}, 1},
	} {
		require.Len(t, w.entries(c.filter), c.want, "%+v", c.filter)
	}

	first, next, err := w.Entries(t.Context(), events.AuditFilter{Limit: 2})
	require.NoError(t, err)
	require.Equal(t, all[:2], first)
	rest, next, err := w.Entries(t.Context(), events.AuditFilter{Limit: 2, Cursor: next})
	require.NoError(t, err)
	require.Equal(t, all[2:], rest)
	require.Empty(t, next)
	_, _, err = w.Entries(t.Context(), events.AuditFilter{Cursor: "-"})
	require.ErrorIs(t, err, events.ErrCursor)
}

// The database itself refuses to change what is in the audit log.
func TestTheAuditLogIsAppendOnly(t *testing.T) {
	w := newWorld(t)
	w.record(events.Entry{Action: "edit-host"})
	w.record(events.Entry{Action: "submit-job", Routine: true})
	for _, query := range []string{`UPDATE audit SET action = 'x'`, `DELETE FROM audit WHERE routine = 0`, `UPDATE audit SET routine = 1`} {
		err := w.store.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(query)
			return err
		})
		require.ErrorContains(t, err, "the audit log is", query)
	}
	require.Len(t, w.entries(events.AuditFilter{}), 2)
}

func TestAuditRetention(t *testing.T) {
	w := newWorld(t, func(c *events.Config) { c.MostAudit, c.MostRoutine = 1, 2 })
	for i := range 5 {
		w.record(events.Entry{Action: fmt.Sprintf("submit-%d", i), Routine: true})
		w.record(events.Entry{Action: fmt.Sprintf("edit-%d", i)})
	}
	_, err := w.Prune(t.Context(), time.Now())
	require.NoError(t, err)
	var left []string
	for _, e := range w.entries(events.AuditFilter{}) {
		left = append(left, e.Action)
	}
	require.Equal(t, []string{"edit-4", "submit-4", "edit-3", "submit-3", "edit-2", "edit-1", "edit-0"}, left,
		"entries of jobs go by their number; others stay for 30 days, however many there are")

	require.NoError(t, w.store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO audit SELECT 1000 + seq, at - ? * 86400000, token_id, token_name, role, address, request_id, method, route,
			action || '-old', object, status, outcome, detail, changes, skipped, routine FROM audit WHERE action = 'edit-0'
			UNION ALL SELECT 2000 + seq, at - 400 * 86400000, token_id, token_name, role, address, request_id, method, route,
			action || '-ancient', object, status, outcome, detail, changes, skipped, routine FROM audit WHERE action = 'edit-0'`, 31)
		return err
	}))
	w.open(func(c *events.Config) { c.MostRoutine = 2 })
	_, err = w.Prune(t.Context(), time.Now())
	require.NoError(t, err)
	require.Len(t, w.entries(events.AuditFilter{Action: "edit-0-old"}), 1, "31 days are less than a year")
	require.Empty(t, w.entries(events.AuditFilter{Action: "edit-0-ancient"}))
	w.open(func(c *events.Config) { c.KeepAudit = 30 * 24 * time.Hour })
	_, err = w.Prune(t.Context(), time.Now())
	require.NoError(t, err)
	require.Empty(t, w.entries(events.AuditFilter{Action: "edit-0-old"}))
	require.NotEmpty(t, w.entries(events.AuditFilter{Action: "edit-0"}))
}

// Whoever is refused again and again does not fill the log, and does not go
// unnoticed either.
func TestRefusalsAreBounded(t *testing.T) {
	w := newWorld(t)
	for range 200 {
		w.record(events.Entry{TokenID: "noisy", Action: "remove-host", Status: 403})
	}
	w.record(events.Entry{TokenID: "quiet", Action: "remove-host", Status: 403})
	require.Len(t, w.entries(events.AuditFilter{TokenID: "noisy", Limit: 500}), 120)
	require.Len(t, w.entries(events.AuditFilter{TokenID: "quiet"}), 1)
	w.record(events.Entry{TokenID: "noisy", Action: "cordon-host", Status: 200})
	require.Equal(t, 80, w.entries(events.AuditFilter{Action: "cordon-host"})[0].Skipped, "what succeeds is recorded always, and tells what was not")
	w.record(events.Entry{TokenID: "noisy", Action: "uncordon-host", Status: 200})
	require.Zero(t, w.entries(events.AuditFilter{Action: "uncordon-host"})[0].Skipped)
}

// An entry and the events of the same deed are stored together, also on a full disk.
func TestRecordGoesThroughTheGuard(t *testing.T) {
	full := errors.New("full")
	calls := 0
	w := newWorld(t, func(c *events.Config) {
		c.Guard = func(do func() error) error {
			calls++
			return errors.Join(do(), do())
		}
	})
	require.NoError(t, w.Record(t.Context(), events.Entry{Action: "create-token"}, events.Event{Kind: "token-created"}))
	require.Equal(t, 1, calls)
	require.Len(t, w.entries(events.AuditFilter{}), 2, "the guard may do it again")
	w.open(func(c *events.Config) { c.Guard = func(func() error) error { return full } })
	require.ErrorIs(t, w.Record(t.Context(), events.Entry{}), full)
}

func TestALongEntryIsCut(t *testing.T) {
	w := newWorld(t)
	var changes []events.Change
	for i := range 2000 {
		changes = append(changes, events.Change{Field: fmt.Sprint(i), After: "0123456789"})
	}
	w.record(events.Entry{Changes: changes})
	e := w.entries(events.AuditFilter{})[0]
	require.Empty(t, e.Changes)
	require.Contains(t, e.Detail, "too many changes")
}
