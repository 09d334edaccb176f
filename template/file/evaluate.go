package file

import (
	"errors"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// prepare finds the expressions in a part of the file where they may be, and
// marks what holds them.
func (ld *loader) prepare(n *node, path string) {
	switch n.kind {
	case kindText:
		segments, err := split(n.text)
		var bad *splitError
		if errors.As(err, &bad) {
			at, _ := ld.openerOf(n, bad.opener)
			ld.problems.add(at, path, "%s", bad.message)
			n.bad = true
			return
		}
		n.segments = segments
		n.dynamic = segments != nil
	case kindList:
		for _, item := range n.items {
			ld.prepare(item, path)
			n.dynamic, n.bad = n.dynamic || item.dynamic, n.bad || item.bad
		}
	case kindMap:
		for _, e := range n.entries {
			ld.prepare(e.val, join(path, e.key))
			n.dynamic, n.bad = n.dynamic || e.val.dynamic, n.bad || e.val.bad
		}
	}
}

// join leads from a path to a key below it.
func join(path, key string) string {
	if len(key) > 100 || strings.ContainsFunc(key, isOdd) {
		key = quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// isOdd says that a key can't be part of a path without quotes.
func isOdd(r rune) bool { return r <= ' ' || r == 0x7f || r == '.' || r == '"' }

func (ld *loader) openerOf(n *node, nth int) (pos, bool) {
	at, ok := ld.source.opener(n.pos, nth)
	if !ok {
		return n.pos, false
	}
	return at, true
}

// place is where in the file an error of a segment of n is.
func (ld *loader) place(n *node, s segment, err *exprError) pos {
	at, ok := ld.openerOf(n, s.opener)
	if !ok {
		return at
	}
	return ld.source.inside(at, s.expression, err.offset)
}

// compile compiles every expression in n, so that what is wrong with one is told
// once and at its place, not for each variant. It reports whether all are good.
func (ld *loader) compile(s *scope, n *node, path string) bool {
	good := true
	switch {
	case !n.dynamic:
	case n.kind == kindText:
		for _, seg := range n.segments {
			if !seg.isExpr {
				continue
			}
			if p := s.compile(seg.expression); p.err != nil {
				good = false
				ld.problems.add(ld.place(n, seg, p.err), path, "%s", p.err.message)
			}
		}
	default:
		for _, item := range n.items {
			good = ld.compile(s, item, path) && good
		}
		for _, e := range n.entries {
			good = ld.compile(s, e.val, join(path, e.key)) && good
		}
	}
	return good
}

// value evaluates n: one expression alone keeps its type, anything else in a text
// is joined as text.
func (ld *loader) value(s *scope, n *node, vars map[string]any) (ref.Val, *Problem) {
	switch {
	case !n.dynamic:
		return toVal(n), nil
	case n.kind == kindText:
		if len(n.segments) == 1 && n.segments[0].isExpr {
			return ld.segment(s, n, n.segments[0], vars)
		}
		return ld.joined(s, n, vars)
	case n.kind == kindList:
		items := make([]ref.Val, 0, len(n.items))
		for _, item := range n.items {
			v, problem := ld.value(s, item, vars)
			if problem != nil {
				return nil, problem
			}
			items = append(items, v)
		}
		return listOf(items), nil
	}
	m := newOrderedMap(len(n.entries))
	for _, e := range n.entries {
		v, problem := ld.value(s, e.val, vars)
		if problem != nil {
			return nil, problem
		}
		m.put(types.String(e.key), v)
	}
	return m, nil
}

func (ld *loader) segment(s *scope, n *node, seg segment, vars map[string]any) (ref.Val, *Problem) {
	v, err := s.evaluate(s.compile(seg.expression), vars)
	if err != nil {
		return nil, ld.problem(n, seg, err)
	}
	return v, nil
}

func (ld *loader) problem(n *node, seg segment, err *exprError) *Problem {
	at := ld.place(n, seg, err)
	message := openMark + " " + shorten(strings.TrimSpace(seg.expression)) + " " + closeMark + ": " + err.message
	if err.missing {
		message += ld.eval.keyHint(err.key)
	}
	return &Problem{Line: at.line, Column: at.column, Message: message}
}

func (ld *loader) joined(s *scope, n *node, vars map[string]any) (ref.Val, *Problem) {
	var b strings.Builder
	for _, seg := range n.segments {
		if !seg.isExpr {
			b.WriteString(seg.literal)
			continue
		}
		v, err := s.evaluate(s.compile(seg.expression), vars)
		if err != nil && err.missing {
			continue
		}
		if err != nil {
			return nil, ld.problem(n, seg, err)
		}
		text, textErr := textOf(v)
		if textErr != nil {
			return nil, ld.problem(n, seg, &exprError{offset: -1, message: textErr.Error()})
		}
		b.WriteString(text)
		if b.Len() > maxText {
			return nil, ld.problem(n, seg, &exprError{offset: -1, message: "the result is " + errTextTooLong.Error()})
		}
	}
	s.ev.cost += uint64(b.Len()) / 10
	return types.String(b.String()), nil
}

// static evaluates n to a node without expressions. Everything that fails is told.
func (ld *loader) static(s *scope, n *node, vars map[string]any, path string) (*node, []Problem) {
	switch {
	case !n.dynamic:
		return n, nil
	case n.kind == kindText:
		v, problem := ld.value(s, n, vars)
		if problem != nil {
			problem.Path = path
			return nil, []Problem{*problem}
		}
		out, err := fromVal(v, n.pos)
		if err != nil {
			return nil, []Problem{{Line: n.line, Column: n.column, Path: path, Message: err.Error()}}
		}
		return out, nil
	}
	out := &node{pos: n.pos, kind: n.kind}
	var problems []Problem
	for _, item := range n.items {
		v, bad := ld.static(s, item, vars, path)
		problems = append(problems, bad...)
		out.items = append(out.items, v)
	}
	for _, e := range n.entries {
		v, bad := ld.static(s, e.val, vars, join(path, e.key))
		problems = append(problems, bad...)
		out.entries = append(out.entries, entry{e.key, e.pos, v})
	}
	return out, problems
}
