package shipfox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/provisioner"
)

// Report sends events, in as many requests as the API's limits call for. All of
// them may be sent again: the service takes a runner's state only upwards.
func (c *ControlPlane) Report(ctx context.Context, events []provisioner.Event) error {
	err := c.report(ctx, events)
	c.mu.Lock()
	c.unreported = err != nil
	c.mu.Unlock()
	if hasStatus(err, http.StatusBadRequest) {
		return fmt.Errorf("%w: %w", err, provisioner.ErrRejected)
	}
	return err
}

func (c *ControlPlane) report(ctx context.Context, events []provisioner.Event) error {
	g, err := c.Generation(ctx)
	if err != nil {
		return err
	}
	for _, body := range c.split(g, events) {
		var answer struct {
			Accepted int `json:"accepted"`
		}
		if _, err := c.client.post(ctx, generations[g].report, body, &answer); err != nil {
			c.forgetGeneration(err)
			return err
		}
	}
	return nil
}

// split makes bodies of at most 1000 events and well under 1 MiB.
func (c *ControlPlane) split(g Generation, events []provisioner.Event) []any {
	var (
		bodies []any
		batch  []json.RawMessage
		size   int
	)
	flush := func() {
		if len(batch) > 0 {
			bodies = append(bodies, map[string][]json.RawMessage{"events": batch})
		}
		batch, size = nil, 0
	}
	for _, e := range events {
		text, err := json.Marshal(c.event(g, e))
		if err != nil {
			continue // strings alone: it can't fail
		}
		if len(batch) == maxEvents || size+len(text) > maxBody-4096 {
			flush()
		}
		batch, size = append(batch, text), size+len(text)+1
	}
	flush()
	return bodies
}

// event is an event in a generation's words. At head the instance is named once
// the runner runs and the reservation never is; before, the reservation always is.
func (c *ControlPlane) event(g Generation, e provisioner.Event) map[string]any {
	n := generations[g]
	out := map[string]any{
		n.id: e.Runner, "labels": strings.Split(e.Labels[provisioner.LabelLabels], ","), "state": e.State,
		"reported_at": e.At.UTC().Format("2006-01-02T15:04:05.000Z"), "provider_kind": c.config.ProviderKind,
	}
	if key := e.Labels[provisioner.LabelTemplate]; key != "" {
		out["template_key"] = key
	}
	if reservation := e.Labels[provisioner.LabelReservation]; n.takesReservationID && reservation != "" {
		out["reservation_id"] = reservation
	}
	if instance := e.Labels[LabelInstance]; g == Head && instance != "" && e.State != provisioner.EventStarting {
		out["runner_instance_id"] = instance
	}
	if reason := cut(e.Reason); reason != "" && e.State != provisioner.EventStopped {
		out["reason"] = reason
	}
	return out
}

// cut bounds a reason to 500 characters.
func cut(reason string) string {
	if utf8.RuneCountInString(reason) <= maxReason {
		return reason
	}
	return string([]rune(reason)[:maxReason-1]) + "…"
}
