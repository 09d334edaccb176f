package expr

import (
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/slipway-ci/slipway/template/file/internal/document"
)

// Compile compiles every expression in n, so that what is wrong with one is told
// once and at its place, not for each variant. It reports whether all are good.
func (s *Scope) Compile(n *document.Node, path string) bool {
	good := true
	switch {
	case !n.Dynamic:
	case n.Kind == document.Text:
		for _, seg := range n.Segments {
			if !seg.IsExpr {
				continue
			}
			if p := s.program(seg.Expression); p.err != nil {
				good = false
				s.ev.doc.Add(s.ev.doc.Place(n, seg, p.err.offset), path, "%s", p.err.message)
			}
		}
	default:
		for _, item := range n.Items {
			good = s.Compile(item, path) && good
		}
		for _, e := range n.Entries {
			good = s.Compile(e.Val, document.Join(path, e.Key)) && good
		}
	}
	return good
}

// Value evaluates n: one expression alone keeps its type, anything else in a text
// is joined as text.
func (s *Scope) Value(n *document.Node, vars map[string]any) (ref.Val, *document.Problem) {
	switch {
	case !n.Dynamic:
		return valueOf(n), nil
	case n.Kind == document.Text:
		if len(n.Segments) == 1 && n.Segments[0].IsExpr {
			return s.segment(n, n.Segments[0], vars)
		}
		return s.joined(n, vars)
	case n.Kind == document.List:
		items := make([]ref.Val, 0, len(n.Items))
		for _, item := range n.Items {
			v, bad := s.Value(item, vars)
			if bad != nil {
				return nil, bad
			}
			items = append(items, v)
		}
		return listOf(items), nil
	}
	m := newOrderedMap(len(n.Entries))
	for _, e := range n.Entries {
		v, bad := s.Value(e.Val, vars)
		if bad != nil {
			return nil, bad
		}
		m.put(types.String(e.Key), v)
	}
	return m, nil
}

func (s *Scope) segment(n *document.Node, seg document.Segment, vars map[string]any) (ref.Val, *document.Problem) {
	v, err := s.evaluate(s.program(seg.Expression), vars)
	if err != nil {
		return nil, s.problem(n, seg, err)
	}
	return v, nil
}

func (s *Scope) problem(n *document.Node, seg document.Segment, err *failure) *document.Problem {
	at := s.ev.doc.Place(n, seg, err.offset)
	message := document.OpenMark + " " + document.Shorten(strings.TrimSpace(seg.Expression)) + " " + document.CloseMark + ": " + err.message
	if err.missing {
		message += s.ev.keyHint(err.key)
	}
	return &document.Problem{Pos: at, Message: message}
}

func (s *Scope) joined(n *document.Node, vars map[string]any) (ref.Val, *document.Problem) {
	var b strings.Builder
	for _, seg := range n.Segments {
		if !seg.IsExpr {
			b.WriteString(seg.Literal)
			continue
		}
		v, err := s.evaluate(s.program(seg.Expression), vars)
		if err != nil && err.missing {
			continue
		}
		if err != nil {
			return nil, s.problem(n, seg, err)
		}
		text, textErr := TextOf(v)
		if textErr != nil {
			return nil, s.problem(n, seg, &failure{offset: -1, message: textErr.Error()})
		}
		b.WriteString(text)
		if b.Len() > maxText {
			return nil, s.problem(n, seg, &failure{offset: -1, message: "the result is " + errTextTooLong.Error()})
		}
	}
	s.ev.cost += uint64(b.Len()) / 10
	return types.String(b.String()), nil
}

// Static evaluates n to a node without expressions. Everything that fails is told.
func (s *Scope) Static(n *document.Node, vars map[string]any, path string) (*document.Node, []document.Problem) {
	switch {
	case !n.Dynamic:
		return n, nil
	case n.Kind == document.Text:
		v, bad := s.Value(n, vars)
		if bad != nil {
			bad.Path = path
			return nil, []document.Problem{*bad}
		}
		out, err := fromVal(v, n.Pos)
		if err != nil {
			return nil, []document.Problem{{Pos: n.Pos, Path: path, Message: err.Error()}}
		}
		return out, nil
	}
	out := &document.Node{Pos: n.Pos, Kind: n.Kind}
	var problems []document.Problem
	for _, item := range n.Items {
		v, bad := s.Static(item, vars, path)
		problems = append(problems, bad...)
		out.Items = append(out.Items, v)
	}
	for _, e := range n.Entries {
		v, bad := s.Static(e.Val, vars, document.Join(path, e.Key))
		problems = append(problems, bad...)
		out.Entries = append(out.Entries, document.Entry{Key: e.Key, Pos: e.Pos, Val: v})
	}
	return out, problems
}
