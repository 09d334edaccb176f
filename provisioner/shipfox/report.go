package shipfox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf16"

	"github.com/slipway-ci/slipway/provisioner"
)

// Report sends events, in as many requests as the API's limits call for. All of
// them may be sent again: the service takes a runner's state only upwards. One
// bad event has the whole request refused: the halves are sent again, until the
// bad ones stand alone. The others were accepted then, and the error is
// ErrRejected. Before an event is given up the generation is looked at anew: two
// have this route in common, and the older one refuses the words of the newer.
//
// Reports that follow each other wait: what the loop has to tell in a burst is
// bundled meanwhile.
func (c *ControlPlane) Report(ctx context.Context, events []provisioner.Event) error {
	if err := c.reports.wait(ctx); err != nil {
		return fmt.Errorf("shipfox: report: %w", err)
	}
	err := c.report(ctx, events)
	rejected := hasStatus(err, http.StatusBadRequest)
	c.mu.Lock()
	c.unreported = err != nil && !rejected
	c.mu.Unlock()
	if rejected {
		return fmt.Errorf("%w: %w", err, provisioner.ErrRejected)
	}
	return err
}

func (c *ControlPlane) report(ctx context.Context, events []provisioner.Event) error {
	g, err := c.Generation(ctx)
	if err != nil {
		return err
	}
	rejected, err := c.reportTo(ctx, g, events)
	if rejected != nil && err == nil {
		c.generation.Store(Generation(""))
		now, problem := c.Generation(ctx)
		if problem != nil {
			return problem
		}
		if now != g {
			rejected, err = c.reportTo(ctx, now, events)
		}
	}
	if err != nil {
		c.forgetGeneration(err)
		return err
	}
	for _, e := range events {
		if !e.State.Terminal() {
			c.observe(e.Runner, e.At)
		}
	}
	return rejected
}

// reportTo sends events in a generation's words. rejected is the last refusal of a
// single one.
func (c *ControlPlane) reportTo(ctx context.Context, g Generation, events []provisioner.Event) (rejected, err error) {
	for _, batch := range c.split(g, events) {
		err := c.sendHalving(ctx, g, batch)
		if hasStatus(err, http.StatusBadRequest) {
			rejected = err
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	return rejected, nil
}

// sendHalving sends a batch, and its halves where it is refused as a whole. The
// last refusal of a single event is the result.
func (c *ControlPlane) sendHalving(ctx context.Context, g Generation, batch []json.RawMessage) error {
	var answer struct {
		Accepted int `json:"accepted"`
	}
	_, err := c.client.post(ctx, generations[g].report, map[string][]json.RawMessage{"events": batch}, &answer)
	if !hasStatus(err, http.StatusBadRequest) || len(batch) == 1 {
		return err
	}
	var rejected error
	for _, half := range [][]json.RawMessage{batch[:len(batch)/2], batch[len(batch)/2:]} {
		err := c.sendHalving(ctx, g, half)
		if err != nil && !hasStatus(err, http.StatusBadRequest) {
			return err
		}
		if err != nil {
			rejected = err
		}
	}
	return rejected
}

// split makes batches of at most 1000 events and well under 1 MiB. A runner
// without labels, which is none that a provisioner launched, can't be told of.
func (c *ControlPlane) split(g Generation, events []provisioner.Event) [][]json.RawMessage {
	var (
		batches [][]json.RawMessage
		batch   []json.RawMessage
		size    int
	)
	flush := func() {
		if len(batch) > 0 {
			batches = append(batches, batch)
		}
		batch, size = nil, 0
	}
	for _, e := range events {
		if e.Labels[provisioner.LabelLabels] == "" {
			c.log.Warn("a runner without labels is not reported", "runner", e.Runner, "state", e.State)
			continue
		}
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
	return batches
}

// event is an event in a generation's words. At head the instance is named once
// the runner runs and the reservation never is; before, the reservation always is.
func (c *ControlPlane) event(g Generation, e provisioner.Event) map[string]any {
	n := generations[g]
	out := map[string]any{
		n.id: e.Runner, "labels": strings.Split(e.Labels[provisioner.LabelLabels], ","), "state": e.State,
		"reported_at": c.reportedAt(e).UTC().Format("2006-01-02T15:04:05.000Z"), "provider_kind": c.config.ProviderKind,
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
	if reason := cut(word(e.Reason)); reason != "" && e.State != provisioner.EventStopped {
		out["reason"] = reason
	}
	return out
}

// word is a reason as the service has it from the reference, where there is one:
// its people search for exit-code-3 and oom.
func word(reason string) string {
	kind, more, _ := strings.Cut(reason, ":")
	switch {
	case kind == "out-of-memory":
		return "oom"
	case kind == "exit-code" && more != "":
		return kind + "-" + strings.TrimSpace(more)
	}
	return reason
}

// cut bounds a reason to 500 characters as the service counts them, which is written
// in JavaScript: in units of UTF-16.
func cut(reason string) string {
	units, fits := 0, 0
	for at, r := range reason {
		if units < maxReason { // what is before it leaves room for the mark
			fits = at
		}
		units += len(utf16.AppendRune(nil, r))
	}
	if units <= maxReason {
		return reason
	}
	return reason[:fits] + "…"
}
