package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/template/file"
	"github.com/slipway-ci/slipway/tokens"
)

const typeYAML = "application/yaml"

func (s *Server) scaleSetRoutes() {
	const notFound, conflict, invalid, failed = http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusPreconditionFailed
	rest.Register(s.Server, rest.Viewer("scale-set"), rest.Operation("list-scale-sets", http.MethodGet, "scale-sets", "List scale sets by name"), s.listScaleSets)
	create := rest.Answering(http.StatusCreated, rest.Operation("create-scale-set", http.MethodPost, "scale-sets", "Make a scale set", conflict, invalid))
	rest.Register(s.Server, rest.Operator("scale-set"), described[NamedScaleSet](s, create), s.createScaleSet)
	rest.Register(s.Server, rest.Viewer("scale-set"), rest.Operation("show-scale-set", http.MethodGet, "scale-sets/{name}", "Show a scale set", notFound), s.showScaleSet)
	put := rest.Operation("put-scale-set", http.MethodPut, "scale-sets/{name}", "Replace a scale set whole", notFound, invalid, failed)
	rest.Register(s.Server, rest.Operator("scale-set"), described[ScaleSetSpec](s, put), s.putScaleSet)
	rest.Register(s.Server, rest.Operator("scale-set"), rest.Answering(http.StatusNoContent, rest.Operation("delete-scale-set", http.MethodDelete, "scale-sets/{name}",
		"Delete a scale set; its runners finish", notFound, failed)), s.deleteScaleSet)
	apply := rest.Operation("apply-scale-sets", http.MethodPost, "scale-sets/apply", "Make the scale sets those of a YAML file: all of it happens, or nothing", invalid, failed)
	apply.Description = "If-Match takes the revision of a diff (dry_run) that somebody agreed to, as an ETag: 412 if anything was edited since."
	apply.SkipValidateBody = true
	apply.MaxBodyBytes = file.MaxScaleSetsSize
	apply.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{typeYAML: {Schema: &huma.Schema{Type: "string"}}}}
	rest.Register(s.Server, rest.Operator("scale-set"), apply, s.applyScaleSets)
	export := rest.Operation("export-scale-sets", http.MethodGet, "scale-sets/export", "All scale sets as the YAML file that apply takes")
	export.Responses = map[string]*huma.Response{"200": {Description: "The file", Content: map[string]*huma.MediaType{typeYAML: {Schema: &huma.Schema{Type: "string"}}}}}
	rest.Register(s.Server, rest.Viewer("scale-set"), export, s.exportScaleSets)
	rest.Register(s.Server, rest.Viewer("scale-set"), rest.Operation("explain-placement", http.MethodGet, "scale-sets/{name}/placement",
		"Tell of each host why the next runner can go there, or not", notFound), s.explainPlacement)
}

// described says what a body is that the handler reads itself: a scale set has
// its own rules and errors, those of the file.
func described[T any](s *Server, op huma.Operation) huma.Operation {
	schema := rest.Schema[T](s.Server)
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
	op.SkipValidateBody = true
	return op
}

type scaleSetInput struct {
	Name string `path:"name" maxLength:"255"`
}

type oneScaleSet struct {
	ETag string `header:"ETag"`
	Body ScaleSet
}

type scaleSetList struct {
	Body rest.List[ScaleSet]
}

// scaleSet is a scale set as it is answered.
func (s *Server) scaleSet(ctx context.Context, set scalesets.ScaleSet, held map[string]int) (ScaleSet, error) {
	document, err := s.ScaleSets.Document(ctx, set)
	if err != nil {
		return ScaleSet{}, s.fault(err)
	}
	out := ScaleSet{Runners: held[set.Key], Status: s.status(set), Version: set.Version, CreatedAt: set.CreatedAt, UpdatedAt: set.UpdatedAt}
	out.Name = set.Key
	// Both are the same JSON.
	text, err := json.Marshal(document)
	if err == nil {
		err = json.Unmarshal(text, &out.ScaleSetSpec)
	}
	if err != nil {
		return ScaleSet{}, s.fault(fmt.Errorf("api: write scale set %s: %w", set.Key, err))
	}
	return out, nil
}

// status is how a scale set does.
func (s *Server) status(set scalesets.ScaleSet) *ScaleSetStatus {
	if s.Statuses == nil {
		return nil
	}
	is := s.Statuses([]scalesets.ScaleSet{set})[0]
	out := &ScaleSetStatus{
		Condition: string(is.Condition), Text: is.Text, CrashesInARow: is.Ends.Row.Count, EndReasons: is.Ends.Reasons,
	}
	if out.EndReasons == nil {
		out.EndReasons = map[string]int{}
	}
	if !is.RetryAt.IsZero() {
		out.RetryAt = &is.RetryAt
	}
	if e := is.Ends.Last; e.Runner != "" {
		out.LastEnd = &RunnerEnd{Runner: e.Runner, Host: e.Host, State: string(e.State), Reason: e.Reason, Text: e.String(), ExitCode: e.ExitCode, At: e.At}
	}
	return out
}

// held counts the runners that take up room, by scale set. What can't be looked at
// now is not counted.
func (s *Server) held(ctx context.Context) map[string]int {
	counts := map[string]int{}
	if s.Fleet == nil {
		return counts
	}
	byState, _ := s.Fleet.CountByTemplate(ctx)
	for name, states := range byState {
		for state, n := range states {
			if state.HoldsSlot() {
				counts[name] += n
			}
		}
	}
	return counts
}

func (s *Server) oneScaleSet(ctx context.Context, set scalesets.ScaleSet) (*oneScaleSet, error) {
	body, err := s.scaleSet(ctx, set, s.held(ctx))
	if err != nil {
		return nil, err
	}
	return &oneScaleSet{rest.ETag(set.Version), body}, nil
}

type scaleSetsInput struct {
	ControlPlane string `query:"control_plane" enum:"queue,shipfox" doc:"those that take their jobs from there"`
	Limit        int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	rest.From
}

func (s *Server) listScaleSets(ctx context.Context, in *scaleSetsInput) (*scaleSetList, error) {
	sets, next, err := s.ScaleSets.List(ctx, scalesets.Filter{ControlPlane: in.ControlPlane, Cursor: in.Key(), Limit: in.Limit})
	if err != nil {
		return nil, s.fault(err)
	}
	held := s.held(ctx)
	items := make([]ScaleSet, len(sets))
	for i, set := range sets {
		if items[i], err = s.scaleSet(ctx, set, held); err != nil {
			return nil, err
		}
	}
	return &scaleSetList{rest.PageOf(items, next, in.From)}, nil
}

func (s *Server) showScaleSet(ctx context.Context, in *scaleSetInput) (*oneScaleSet, error) {
	set, err := s.ScaleSets.Get(ctx, in.Name)
	if err != nil {
		return nil, s.fault(err)
	}
	return s.oneScaleSet(ctx, set)
}

// readDocument reads a scale set by its own rules; name is taken out of it.
func (s *Server) readDocument(text []byte) (name string, d scalesets.Document, err error) {
	bad := func(err error) error {
		return problem.New(http.StatusBadRequest, "invalid", "the body is not a JSON object: "+err.Error())
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return "", d, bad(syntax(err))
	}
	if err := rest.Exact(text); err != nil {
		return "", d, problem.New(http.StatusBadRequest, "invalid", err.Error(), problem.FieldError{Location: "body", Message: err.Error()})
	}
	if raw, ok := fields["name"]; ok {
		if err := json.Unmarshal(raw, &name); err != nil {
			return "", d, problem.Invalid("body.name", "is not a text")
		}
		delete(fields, "name")
	}
	if text, err = json.Marshal(fields); err != nil {
		return "", d, bad(syntax(err))
	}
	if err := d.UnmarshalJSON(text); err != nil {
		return "", d, s.fault(err)
	}
	return name, d, nil
}

// syntax is what is wrong with a JSON text, without any of it.
func syntax(err error) error {
	var wrong *json.SyntaxError
	if errors.As(err, &wrong) {
		return fmt.Errorf("at byte %d", wrong.Offset)
	}
	return errors.New("something else")
}

type rawInput struct {
	RawBody []byte
}

func (s *Server) createScaleSet(ctx context.Context, in *rawInput) (*oneScaleSet, error) {
	name, document, err := s.readDocument(in.RawBody)
	if err != nil {
		return nil, err
	}
	rest.DeedOf(ctx).Object = "scale-set/" + name
	var set scalesets.ScaleSet
	err = s.Store(func() (err error) {
		set, err = s.ScaleSets.Create(ctx, name, document)
		return err
	})
	if err != nil {
		return nil, s.fault(err)
	}
	return s.editedScaleSet(ctx, nil, set)
}

// editedScaleSet answers a scale set, and has its changes audited; before is the
// document that it was, or nil.
func (s *Server) editedScaleSet(ctx context.Context, before any, set scalesets.ScaleSet) (*oneScaleSet, error) {
	after, err := s.ScaleSets.Document(ctx, set)
	if err != nil {
		return nil, s.fault(err)
	}
	if err := rest.DeedOf(ctx).Compare(before, after); err != nil {
		return nil, s.fault(err)
	}
	return s.oneScaleSet(ctx, set)
}

type putScaleSetInput struct {
	Name    string         `path:"name" maxLength:"255"`
	IfMatch rest.Condition `header:"If-Match" maxLength:"400" doc:"the ETag of what is edited, as it was read: 412 if it was edited since"`
	RawBody []byte
}

func (s *Server) putScaleSet(ctx context.Context, in *putScaleSetInput) (*oneScaleSet, error) {
	name, document, err := s.readDocument(in.RawBody)
	if err != nil {
		return nil, err
	}
	if name != "" && name != in.Name {
		return nil, problem.Invalid("body.name", "can't be changed")
	}
	current, err := s.ScaleSets.Get(ctx, in.Name)
	if err != nil {
		return nil, s.fault(err)
	}
	before, err := s.ScaleSets.Document(ctx, current)
	if err != nil {
		return nil, s.fault(err)
	}
	version, err := in.IfMatch.Version(ctx, func(context.Context) (int64, error) { return current.Version, nil })
	if err != nil {
		return nil, err
	}
	var set scalesets.ScaleSet
	err = s.Store(func() (err error) {
		set, err = s.ScaleSets.Put(ctx, in.Name, version, document)
		return err
	})
	if err != nil {
		return nil, s.staleScaleSet(ctx, in.Name, err)
	}
	return s.editedScaleSet(ctx, before, set)
}

// staleScaleSet is the problem of an edit, with the ETag where it came too late.
func (s *Server) staleScaleSet(ctx context.Context, name string, err error) error {
	if !errors.Is(err, scalesets.ErrStale) {
		return s.fault(err)
	}
	current, err := s.ScaleSets.Get(ctx, name)
	if err != nil {
		return s.fault(err)
	}
	return rest.Stale("scale set "+name, current.Version)
}

func (s *Server) deleteScaleSet(ctx context.Context, in *struct {
	Name    string         `path:"name" maxLength:"255"`
	IfMatch rest.Condition `header:"If-Match" maxLength:"400" doc:"the ETag of what is edited, as it was read: 412 if it was edited since"`
}) (*struct{}, error) {
	version, err := in.IfMatch.Version(ctx, func(ctx context.Context) (int64, error) {
		current, err := s.ScaleSets.Get(ctx, in.Name)
		if err != nil {
			return 0, s.fault(err)
		}
		return current.Version, nil
	})
	if err != nil {
		return nil, err
	}
	err = s.Store(func() error { return s.ScaleSets.Delete(ctx, in.Name, version) })
	if err != nil {
		return nil, s.staleScaleSet(ctx, in.Name, err)
	}
	return nil, nil
}

type applyInput struct {
	DryRun  bool           `query:"dry_run" doc:"change nothing, only tell what would be"`
	Prune   bool           `query:"prune" doc:"delete the scale sets that the file does not name"`
	IfMatch rest.Condition `header:"If-Match" maxLength:"400" doc:"the ETag of what is edited, as it was read: 412 if it was edited since"`
	RawBody []byte
}

type diffAnswer struct {
	Body Diff
}

func (s *Server) applyScaleSets(ctx context.Context, in *applyInput) (*diffAnswer, error) {
	// Of a whole file the ETag is the revision of a diff.
	revision, err := in.IfMatch.Version(ctx, func(context.Context) (int64, error) { return rest.NoVersion, nil })
	if err != nil {
		return nil, err
	}
	var diff scalesets.Diff
	err = s.Store(func() (err error) {
		diff, err = s.ScaleSets.Apply(ctx, in.RawBody, scalesets.ApplyOptions{DryRun: in.DryRun, Prune: in.Prune, Revision: revision})
		return err
	})
	if errors.Is(err, scalesets.ErrStale) {
		return nil, problem.New(http.StatusPreconditionFailed, "stale", "scale sets or credentials were edited meanwhile: look at the difference again")
	}
	if err != nil {
		return nil, s.fault(err)
	}
	d := rest.DeedOf(ctx)
	if in.DryRun {
		d.Detail = "dry run: nothing was changed"
	}
	out := Diff{
		DryRun: diff.DryRun, Changes: []Change{}, Unchanged: orEmpty(diff.Unchanged), Warnings: orEmpty(diff.Warnings), Revision: diff.Revision,
	}
	for _, c := range diff.Changes {
		change := Change{ScaleSet: c.ScaleSet, Action: string(c.Action), Fields: []FieldChange{}}
		for _, f := range c.Fields {
			change.Fields = append(change.Fields, FieldChange{Field: f.Field, Before: f.Before, After: f.After})
			if !in.DryRun {
				d.Edit(c.ScaleSet+": ", f.Field, f.Before, f.After)
			}
		}
		if !in.DryRun && c.Action == scalesets.ActionDelete {
			d.Change(c.ScaleSet, "scale set", nil)
		}
		out.Changes = append(out.Changes, change)
	}
	return &diffAnswer{out}, nil
}

type yamlAnswer struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (s *Server) exportScaleSets(ctx context.Context, _ *struct{}) (*yamlAnswer, error) {
	text, err := s.ScaleSets.Export(ctx)
	if err != nil {
		return nil, s.fault(err)
	}
	return &yamlAnswer{typeYAML, text}, nil
}

type verdictList struct {
	Body rest.List[Verdict]
}

func (s *Server) explainPlacement(ctx context.Context, in *scaleSetInput) (*verdictList, error) {
	if _, err := s.ScaleSets.Get(ctx, in.Name); err != nil {
		return nil, s.fault(err)
	}
	if s.Fleet == nil {
		return nil, rest.NotConfigured("hosts")
	}
	items := []Verdict{}
	for _, v := range s.Fleet.Explain(in.Name) {
		items = append(items, Verdict{
			Host: v.Name, HostID: v.Host, Eligible: v.Reason == "", Reason: tokens.Redact(v.Reason),
			LastFailure: tokens.Redact(v.LastFailure), FailedAt: orNull(v.FailedAt), RetryAt: orNull(v.RetryAt),
		})
	}
	return &verdictList{rest.ListOf(items, "")}, nil
}
