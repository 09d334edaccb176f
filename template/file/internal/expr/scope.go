package expr

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/slipway-ci/slipway/template/file/internal/document"
)

const (
	// maxExpression is how long one expression may be, in characters.
	maxExpression = 8 << 10
	// maxExpressionDepth bounds the parser's recursion.
	maxExpressionDepth = 100
	// maxExpressions and maxExpressionText bound what is compiled for one file:
	// a thousand families with twenty fields each, and their length together.
	maxExpressions    = 20_000
	maxExpressionText = 2 << 20
	// maxFileCost is what all evaluations of a file may cost together: a file of
	// a thousand templates with ten small expressions each costs about 20,000.
	maxFileCost = 1_000_000
)

// evaluator compiles and runs the expressions of one file, in one goroutine.
type evaluator struct {
	doc         *document.File
	vars        map[string]any // what every expression sees
	cost        uint64         // spent so far
	ranged      int            // values that range gave in the evaluation under way
	expressions int            // compiled so far
	text        int            // length of those
	keys        []string
	hints       map[string]string
}

// keyHint is DidYouMean for a key of vars. It is asked for every variant.
func (ev *evaluator) keyHint(key string) string {
	hint, ok := ev.hints[key]
	if !ok && len(ev.hints) < document.MaxProblems {
		hint = document.DidYouMean(key, ev.keys)
		ev.hints[key] = hint
	}
	return hint
}

// keysOf are all keys in a node, for "did you mean"; at most a thousand.
func keysOf(n *document.Node) []string {
	seen := map[string]bool{}
	var keys []string
	var walk func(*document.Node)
	walk = func(n *document.Node) {
		for _, item := range n.Items {
			walk(item)
		}
		for _, e := range n.Entries {
			if !seen[e.Key] && len(keys) < 1000 {
				seen[e.Key] = true
				keys = append(keys, e.Key)
			}
			walk(e.Val)
		}
	}
	walk(n)
	return keys
}

// New makes the scope of a file in which vars alone is known.
func New(doc *document.File, vars *document.Node) (*Scope, error) {
	ev := &evaluator{doc: doc, vars: map[string]any{"vars": valueOf(vars)}, keys: keysOf(vars), hints: map[string]string{}}
	env, err := cel.NewEnv(append(ev.functions(),
		cel.Variable("vars", cel.DynType),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserRecursionLimit(maxExpressionDepth),
		cel.ParserExpressionSizeLimit(maxExpression),
	)...)
	if err != nil {
		return nil, fmt.Errorf("expressions: %w", err)
	}
	return &Scope{ev: ev, env: env, names: []string{"vars"}, programs: map[string]*program{}}, nil
}

// Scope is the names that expressions of one part of the file may use. It
// compiles each expression once.
type Scope struct {
	ev       *evaluator
	env      *cel.Env
	names    []string
	programs map[string]*program
}

// Extend makes a scope with more names.
func (s *Scope) Extend(names []string) (*Scope, error) {
	opts := make([]cel.EnvOption, 0, len(names))
	for _, name := range names {
		opts = append(opts, cel.Variable(name, cel.DynType))
	}
	env, err := s.env.Extend(opts...)
	if err != nil {
		return nil, fmt.Errorf("expressions: %w", err)
	}
	return &Scope{ev: s.ev, env: env, names: append(slices.Clone(s.names), names...),
		programs: map[string]*program{}}, nil
}

// Vars is what every expression of the file sees, by name. Nobody changes it.
func (s *Scope) Vars() map[string]any { return s.ev.vars }

// Spend books the work of going through values of that weight.
func (s *Scope) Spend(weight int) { s.ev.cost += uint64(weight) / 4 }

// Left is what the expressions of the file may still cost; below 0 it is too much.
func (s *Scope) Left() int { return maxFileCost - int(s.ev.cost) }

// failure is why an expression can't be compiled or evaluated.
type failure struct {
	offset  int // where in it, in characters; -1 is unknown
	message string
	// missing: it looks up the key that is not there, which in a text is empty.
	missing bool
	key     string
}

// program is a compiled expression, or why there is none.
type program struct {
	source string
	run    cel.Program
	ast    *cel.Ast
	err    *failure
	// doubt is what the type checker has against it. CEL evaluates such an
	// expression nevertheless, and it may be right: the checker refuses
	// (gpu ? "all" : 0). It explains a later failure.
	doubt *failure
}

// program returns the program of an expression; its err says what is wrong.
func (s *Scope) program(source string) *program {
	if p, ok := s.programs[source]; ok {
		return p
	}
	p := &program{source: source}
	s.programs[source] = p
	s.ev.expressions++
	s.ev.text += len(source)
	if s.ev.expressions > maxExpressions || s.ev.text > maxExpressionText {
		p.err = &failure{offset: -1, message: "the file has too many expressions"}
		return p
	}
	ast, issues := s.env.Parse(source)
	if issues.Err() != nil {
		p.err = firstIssue(source, issues)
		return p
	}
	checked, issues := s.env.Check(ast)
	if issues.Err() != nil {
		if p.err = s.undeclared(source, issues); p.err != nil {
			return p
		}
		p.doubt = firstIssue(source, issues)
	} else {
		ast = checked
	}
	run, err := s.env.Program(ast, programOptions()...)
	if err != nil {
		p.err = &failure{offset: -1, message: err.Error()}
		return p
	}
	p.run, p.ast = run, ast
	return p
}

func firstIssue(source string, issues *cel.Issues) *failure {
	all := issues.Errors()
	if len(all) == 0 {
		return &failure{offset: -1, message: issues.Err().Error()}
	}
	first := slices.MinFunc(all, func(a, b *cel.Error) int {
		return cmp.Or(cmp.Compare(a.Location.Line(), b.Location.Line()),
			cmp.Compare(a.Location.Column(), b.Location.Column()))
	})
	return issueAt(source, first, advise(strings.ReplaceAll(first.Message, "\n", " ")))
}

func issueAt(source string, issue *cel.Error, message string) *failure {
	return &failure{offset: runeOffset(source, issue.Location.Line(), issue.Location.Column()), message: message}
}

// runeOffset is the index in characters of a place in CEL's terms: lines from 1,
// columns from 0.
func runeOffset(source string, line, column int) int {
	lines := strings.Split(source, "\n")
	if line < 1 || line > len(lines) || column < 0 {
		return -1
	}
	offset := column
	for _, l := range lines[:line-1] {
		offset += len([]rune(l)) + 1
	}
	// CEL puts a call at its parenthesis.
	if at := []rune(source); offset < len(at) && at[offset] == '(' {
		for offset > 0 && at[offset-1] < 0x80 && document.IsWord(byte(at[offset-1])) {
			offset--
		}
	}
	return offset
}

var undeclaredName = regexp.MustCompile(`^undeclared reference to '([^']*)'`)

// undeclared finds the issue of a name that the scope does not have, if any.
func (s *Scope) undeclared(source string, issues *cel.Issues) *failure {
	for _, issue := range issues.Errors() {
		m := undeclaredName.FindStringSubmatch(issue.Message)
		if m == nil {
			continue
		}
		known := append(slices.Clone(s.names), functionNames...)
		message := fmt.Sprintf("unknown name %s%s", document.Quote(m[1]), document.DidYouMean(m[1], known))
		return issueAt(source, issue, message+"; known here: "+strings.Join(s.names, ", "))
	}
	return nil
}

// evaluate runs a program. The names of vars are those of the scope.
func (s *Scope) evaluate(p *program, vars map[string]any) (ref.Val, *failure) {
	if p.err != nil {
		return nil, p.err
	}
	if s.Left() < 0 {
		return nil, &failure{offset: -1, message: "the expressions of this file cost too much to evaluate"}
	}
	s.ev.ranged = 0
	out, details, err := p.run.Eval(vars)
	if cost := details.ActualCost(); cost != nil {
		s.ev.cost += *cost
	} else {
		s.ev.cost += maxCost
	}
	if err != nil {
		return nil, s.explain(p, err)
	}
	weight, err := Weigh(out)
	s.Spend(weight)
	if err != nil {
		return nil, &failure{offset: -1, message: "the result is " + err.Error()}
	}
	return out, nil
}

// explain turns CEL's error into ours.
func (s *Scope) explain(p *program, err error) *failure {
	message := err.Error()
	out := &failure{offset: -1, message: advise(message)}
	var celErr *types.Err
	if errors.As(err, &celErr) && celErr.NodeID() != 0 {
		at := p.ast.NativeRep().SourceInfo().GetStartLocation(celErr.NodeID())
		out.offset = runeOffset(p.source, at.Line(), at.Column())
	}
	switch key, missing := strings.CutPrefix(message, "no such key: "); {
	case missing:
		out.missing, out.key = true, key
		out.message = "no key " + document.Quote(key)
	case strings.Contains(message, "cost limit exceeded"):
		out.message = "costs too much to evaluate"
	case strings.HasPrefix(message, "no such attribute(s): "):
		name := strings.TrimPrefix(message, "no such attribute(s): ")
		out.message = fmt.Sprintf("%s is not known yet: let sees vars, the axes and what is declared before it", document.Quote(name))
	case strings.HasPrefix(message, "no such overload") && p.doubt != nil:
		return p.doubt
	}
	return out
}

var arithmetic = regexp.MustCompile(`^(no such overload|found no matching overload).*_[-+*/%]_`)

// advise adds what most often is the reason of a type error.
func advise(message string) string {
	if message == "no such overload" || arithmetic.MatchString(message) {
		return message + " (numbers of the file are doubles: write 2.0, not 2, beside them)"
	}
	return message
}
