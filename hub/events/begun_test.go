package events_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// runOnce runs the log as long as it takes to begin.
func (w *world) runOnce() {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	last, err := w.Last(ctx)
	require.NoError(w.t, err)
	w.Tell("started", "hub", "") // it is stored after what Run begins with
	deadline := time.Now().Add(20 * time.Second)
	for len(w.after(last, events.Filter{Kinds: []string{"started"}}, 1).Events) == 0 {
		require.True(w.t, time.Now().Before(deadline))
		<-time.After(time.Millisecond)
	}
	stop()
	require.NoError(w.t, <-done)
}

// A hub that dies between a change and its entry has an entry all the same.
func TestWhatWasBegunIsNotLost(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	asked := events.Entry{TokenID: "t1", TokenName: "ci", Role: "admin", Address: "192.0.2.1", RequestID: "r1", Method: "DELETE", Route: "/api/v1/hosts/{name}", Action: "remove-host", Object: "host/a"}
	lost, err := w.Begin(ctx, asked)
	require.NoError(t, err)
	require.NotEmpty(t, lost)
	asked.Object = "host/b"
	recorded, err := w.Begin(ctx, asked)
	require.NoError(t, err)
	asked.Begun, asked.Status, asked.Outcome = recorded, 204, "done"
	w.record(asked)

	w.runOnce()
	require.Len(t, w.entries(events.AuditFilter{}), 1, "what this life has begun may be under way")
	before := time.Now()
	w.open() // the next life
	for range 2 {
		w.runOnce()
		all := w.entries(events.AuditFilter{})
		require.Len(t, all, 2, "each once")
		require.Equal(t, "host/b", all[1].Object)
		e := all[0]
		require.Equal(t, events.OutcomeUnknown, e.Outcome)
		require.Contains(t, e.Detail, "look whether it was done")
		require.False(t, e.At.After(before), "its time is that of the request")
		e.ID, e.At, e.Outcome, e.Detail, e.Changes = 0, time.Time{}, "", "", nil
		asked.Object, asked.Begun, asked.Status, asked.Outcome = "host/a", "", 0, ""
		require.Equal(t, asked, e)
	}
}

// What a note holds is as free of secrets as an entry.
func TestANoteHoldsNoToken(t *testing.T) {
	w := newWorld(t)
	secret := tokens.New(tokens.Admin).Reveal()
	_, err := w.Begin(t.Context(), events.Entry{Object: "token/" + secret, Changes: []events.Change{{Field: "x", After: secret}}})
	require.NoError(t, err)
	var notes []string
	require.NoError(t, w.store.Read(t.Context(), func(tx *store.Tx) error {
		notes, err = store.All(tx, store.Value[string], `SELECT value FROM settings`)
		return err
	}))
	require.NotEmpty(t, notes)
	require.NotContains(t, strings.Join(notes, "\n"), secret)
}

// A refusal that is one too many leaves no note either.
func TestASkippedRefusalTakesItsNoteBack(t *testing.T) {
	w := newWorld(t)
	refused := events.Entry{TokenID: "noisy", Action: "remove-host", Status: 409}
	for range 120 {
		w.record(refused)
	}
	mark, err := w.Begin(t.Context(), refused)
	require.NoError(t, err)
	refused.Begun = mark
	w.record(refused)
	w.open()
	w.runOnce()
	require.Empty(t, w.entries(events.AuditFilter{Outcome: events.OutcomeUnknown}))
}
