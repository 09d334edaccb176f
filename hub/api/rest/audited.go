package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/tokens"
)

// Deed is what a handler tells of what it did, for the audit log.
type Deed struct {
	// Object is such as host/builder-01; empty: as the route's path says.
	Object string
	// Detail is for people.
	Detail string

	changes []events.Change
	events  []events.Event
	begun   string // Begin's mark
}

type deedKey struct{}

// DeedOf is the deed of a request that changes something.
func DeedOf(ctx context.Context) *Deed {
	if d, ok := ctx.Value(deedKey{}).(*Deed); ok {
		return d
	}
	return &Deed{} // of a request that is not audited
}

// Set notes a field that was given, unless it is empty.
func (d *Deed) Set(field string, after any) {
	if after != nil && !reflect.ValueOf(after).IsZero() {
		d.changes = append(d.changes, events.Change{Field: field, After: after})
	}
}

// Change notes a field that was edited, unless it stayed as it was.
func (d *Deed) Change(field string, before, after any) {
	if !reflect.DeepEqual(before, after) {
		d.changes = append(d.changes, events.Change{Field: field, Before: before, After: after})
	}
}

// Compare notes the fields of two documents that differ, by their names in JSON.
func (d *Deed) Compare(before, after any) error {
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
		d.Edit("", name, fields[0][name], fields[1][name])
	}
	return nil
}

// Edit notes a field of a scale set. Of variables the names are told alone: people
// put secrets there, whatever they are told.
func (d *Deed) Edit(prefix, field string, before, after any) {
	if field != "env" {
		d.Change(prefix+field, before, after)
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

// Tell has an event stored with the entry.
func (d *Deed) Tell(kind, object, text string) {
	d.events = append(d.events, events.Event{Kind: kind, Object: object, Text: text})
}

// audited does what changes something, and writes it to the audit log before the
// client is answered.
func (s *Server) audited(op *huma.Operation, w http.ResponseWriter, r *http.Request, next func(huma.Context)) {
	// Should the hub die between the change and its entry, this tells of it.
	if rule := ruleOf(op); !rule.routine {
		who := CallerOf(r.Context())
		s.Logger.Info("change asked for", "action", op.OperationID, "object", tokens.Redact(objectOf(r, rule.noun)), "token", who.Token.ID, "address", who.Address, "request", who.RequestID)
	}
	d := &Deed{}
	r = r.WithContext(context.WithValue(r.Context(), deedKey{}, d))
	held := &heldAnswer{ResponseWriter: w}
	defer func() {
		if cause := recover(); cause != nil {
			s.record(r, op, d, http.StatusInternalServerError, problem.New(http.StatusInternalServerError, "internal", "it broke off"))
			panic(cause)
		}
	}()
	s.begin(r, op, d)
	next(humago.NewContext(op, r, held))
	s.record(r, op, d, held.status(), held.problem())
	held.send()
}

// record writes the entry, and the events that belong to it. What can't be
// written is in the hub's own log.
func (s *Server) record(r *http.Request, op *huma.Operation, d *Deed, status int, p *problem.Problem) {
	if s.Events == nil {
		return
	}
	e := entryOf(r, op, d)
	e.Status, e.Outcome, e.Detail, e.Changes, e.Begun = status, "done", d.Detail, d.changes, d.begun
	if p != nil {
		e.Outcome, e.Detail = p.Code(), p.Detail
		d.events = nil
	}
	// What was done is recorded, even if nobody waits for the answer any more.
	if err := s.Events.Record(context.WithoutCancel(r.Context()), e, d.events...); err != nil {
		s.Logger.Error("audit entry not written", "err", err, "token", e.TokenID, "address", e.Address, "request", e.RequestID,
			"action", e.Action, "object", e.Object, "outcome", e.Outcome)
	}
}

// begin notes that a change is asked for, so that it has an entry even if the hub dies
// before it can be recorded. What can't be noted is done all the same.
func (s *Server) begin(r *http.Request, op *huma.Operation, d *Deed) {
	if s.Events == nil || ruleOf(op).routine {
		return
	}
	mark, err := s.Events.Begin(r.Context(), entryOf(r, op, d))
	if err != nil {
		s.Logger.Warn("audit entry not noted ahead", "err", err, "action", op.OperationID)
	}
	d.begun = mark
}

// entryOf is the entry of a request as far as it is known before it is done.
func entryOf(r *http.Request, op *huma.Operation, d *Deed) events.Entry {
	who, rule := CallerOf(r.Context()), ruleOf(op)
	return events.Entry{
		TokenID: who.Token.ID, TokenName: who.Token.Name, Role: string(who.Token.Role), Address: who.Address, RequestID: who.RequestID,
		Method: r.Method, Route: op.Path, Action: op.OperationID, Object: cmp.Or(d.Object, objectOf(r, rule.noun)), Routine: rule.routine,
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
func (h *heldAnswer) problem() *problem.Problem {
	if h.status() < 400 {
		return nil
	}
	p := problem.New(h.status(), "internal", "")
	_ = json.Unmarshal(h.body.Bytes(), p) // all errors of this API are problems
	return p
}

func (h *heldAnswer) send() {
	h.ResponseWriter.WriteHeader(h.status())
	_, _ = h.ResponseWriter.Write(h.body.Bytes()) // whoever left does not read it
}
