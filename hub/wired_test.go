package hub

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/hub/store"
)

// The API tells of a scale set what the hub knows of it.
func TestTheAPITellsHowAScaleSetDoes(t *testing.T) {
	s := newSite(t, nil)
	s.create("gpu", func(d *scalesets.Document) { d.GPUs = 1 })
	c, err := client.New(client.Config{URL: s.URL(), Token: s.AdminToken().Reveal()})
	require.NoError(t, err)
	s.waits("it is told", func() bool {
		set, err := c.ScaleSet(t.Context(), "gpu")
		require.NoError(t, err)
		return set.Status != nil && set.Status.Condition == "blocked" && strings.Contains(set.Status.Text, "builder-01 is short of GPUs")
	})
}

// A change is noted before it is made, and the note is taken back with its entry.
func TestChangesAreNotedAhead(t *testing.T) {
	s := newSite(t, nil)
	require.NoError(t, s.store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`CREATE TRIGGER seen AFTER INSERT ON settings WHEN substr(NEW.name, 1, 11) = 'audit begun'
			BEGIN INSERT OR REPLACE INTO settings (name, value) VALUES ('seen', NEW.value); END`)
		return err
	}))
	status, code, _ := s.call("PATCH", "hosts/builder-01", `{"labels": {"a": "b"}}`)
	require.Equal(t, http.StatusOK, status, code)
	var seen []string
	require.NoError(t, s.store.Read(t.Context(), func(tx *store.Tx) (err error) {
		seen, err = store.All(tx, store.Value[string], `SELECT name || value FROM settings WHERE name = 'seen' OR substr(name, 1, 11) = 'audit begun'`)
		return err
	}))
	require.Len(t, seen, 1)
	require.Contains(t, seen[0], "host/builder-01")
}

// A job whose runner found no room says so.
func TestAJobThatFoundNoRoomSaysSo(t *testing.T) {
	s := newSite(t, func(backend.Spec) memory.Program {
		return memory.Program{Err: fmt.Errorf("no room here: %w", backend.ErrExhausted)}
	})
	s.create("small", nil)
	s.submit("small")
	s.waits("it says so", func() bool {
		page, err := s.events.Newest(t.Context(), events.Filter{Kinds: []string{"job-queued"}}, 1)
		require.NoError(t, err)
		return len(page.Events) == 1 && strings.Contains(page.Events[0].Text, "no room for its runner")
	})
}
