package api

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/slipway-ci/slipway/hub/events"
)

// deed is what a handler tells of what it did, for the audit log.
type deed struct {
	object  string // host/builder-01; empty: as the route's path says
	detail  string
	changes []events.Change
	events  []events.Event
}

type deedKey struct{}

// deedOf is the deed of a request that changes something.
func deedOf(ctx context.Context) *deed {
	if d, ok := ctx.Value(deedKey{}).(*deed); ok {
		return d
	}
	return &deed{} // of a request that is not audited
}

// set notes a field that was given, unless it is empty.
func (d *deed) set(field string, after any) {
	if after != nil && !reflect.ValueOf(after).IsZero() {
		d.changes = append(d.changes, events.Change{Field: field, After: after})
	}
}

// change notes a field that was edited, unless it stayed as it was.
func (d *deed) change(field string, before, after any) {
	if !reflect.DeepEqual(before, after) {
		d.changes = append(d.changes, events.Change{Field: field, Before: before, After: after})
	}
}

// compare notes the fields of two documents that differ, by their names in JSON.
func (d *deed) compare(before, after any) error {
	var fields [2]map[string]any
	for i, v := range []any{before, after} {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &fields[i]); err != nil {
			return err
		}
	}
	all := map[string]any{}
	maps.Copy(all, fields[0])
	maps.Copy(all, fields[1])
	for _, name := range slices.Sorted(maps.Keys(all)) {
		d.edit("", name, fields[0][name], fields[1][name])
	}
	return nil
}

// edit notes a field of a scale set. Of variables the names are told alone: people
// put secrets there, whatever they are told.
func (d *deed) edit(prefix, field string, before, after any) {
	if field != "env" {
		d.change(prefix+field, before, after)
		return
	}
	old, _ := plain(before).(map[string]any)
	fresh, _ := plain(after).(map[string]any)
	all := map[string]any{}
	maps.Copy(all, old)
	maps.Copy(all, fresh)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if was, is := old[name], fresh[name]; !reflect.DeepEqual(was, is) {
			d.changes = append(d.changes, events.Change{Field: prefix + "env." + name, Before: veiled(was), After: veiled(is)})
		}
	}
}

// plain is a value as JSON has it.
func plain(v any) (out any) {
	if text, err := json.Marshal(v); err == nil {
		_ = json.Unmarshal(text, &out)
	}
	return out
}

func veiled(v any) any {
	if v == nil {
		return nil
	}
	return "(set)"
}

// tell has an event stored with the entry.
func (d *deed) tell(kind, object, text string) {
	d.events = append(d.events, events.Event{Kind: kind, Object: object, Text: text})
}

// audited does what changes something, and writes it to the audit log before the
// client is answered.
func (s *Server) audited(op *huma.Operation, w http.ResponseWriter, r *http.Request, next func(huma.Context)) {
	d := &deed{}
	r = r.WithContext(context.WithValue(r.Context(), deedKey{}, d))
	held := &heldAnswer{ResponseWriter: w}
	defer func() {
		if cause := recover(); cause != nil {
			s.record(r, op, d, http.StatusInternalServerError, newProblem(http.StatusInternalServerError, "internal", "it broke off"))
			panic(cause)
		}
	}()
	next(humago.NewContext(op, r, held))
	s.record(r, op, d, held.status(), held.problem())
	held.send()
}

// record writes the entry, and the events that belong to it. What can't be
// written is in the hub's own log.
func (s *Server) record(r *http.Request, op *huma.Operation, d *deed, status int, p *Problem) {
	if s.Events == nil {
		return
	}
	who, rule := callerOf(r.Context()), ruleOf(op)
	e := events.Entry{
		TokenID: who.token.ID, TokenName: who.token.Name, Role: string(who.token.Role), Address: who.address, RequestID: who.requestID,
		Method: r.Method, Route: op.Path, Action: op.OperationID, Object: d.object, Status: status, Outcome: "done", Detail: d.detail,
		Changes: d.changes, Routine: rule.routine,
	}
	if e.Object == "" {
		e.Object = objectOf(r, rule.noun)
	}
	if p != nil {
		e.Outcome, e.Detail = p.code(), p.Detail
		d.events = nil
	}
	// What was done is recorded, even if nobody waits for the answer any more.
	if err := s.Events.Record(context.WithoutCancel(r.Context()), e, d.events...); err != nil {
		s.Logger.Error("audit entry not written", "err", err, "token", e.TokenID, "address", e.Address, "request", e.RequestID,
			"action", e.Action, "object", e.Object, "outcome", e.Outcome)
	}
}

// objectOf is the object that the path names.
func objectOf(r *http.Request, noun string) string {
	for _, name := range []string{"name", "id"} {
		if value := r.PathValue(name); value != "" {
			return noun + "/" + value
		}
	}
	return noun
}

// heldAnswer holds an answer back until send.
type heldAnswer struct {
	http.ResponseWriter // its header is the answer's
	code                int
	body                bytes.Buffer
}

func (h *heldAnswer) WriteHeader(status int) {
	if h.code == 0 {
		h.code = status
	}
}

func (h *heldAnswer) Write(p []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	return h.body.Write(p)
}

// Unwrap is for http.ResponseController: deadlines are the connection's.
func (h *heldAnswer) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *heldAnswer) status() int {
	if h.code == 0 {
		return http.StatusOK
	}
	return h.code
}

// problem is what the answer says is wrong; nil: it is a success.
func (h *heldAnswer) problem() *Problem {
	if h.status() < 400 {
		return nil
	}
	p := newProblem(h.status(), "internal", "")
	_ = json.Unmarshal(h.body.Bytes(), p) // all errors of this API are problems
	return p
}

func (h *heldAnswer) send() {
	h.ResponseWriter.WriteHeader(h.status())
	_, _ = h.ResponseWriter.Write(h.body.Bytes()) // whoever left does not read it
}
