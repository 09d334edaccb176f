package expr

import (
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

// An evaluation must end soon whatever the expression is. CEL's cost limit stops
// loops; it looks after each operation, so that no single one may take long. Here
// are the bounds for those that could: what makes texts and lists grow, what
// walks through values of any size, and regular expressions.

const (
	// maxCost is what one evaluation may cost; a step of a loop costs about five.
	maxCost = 50_000
	// maxList is how long a list may get that an expression makes.
	maxList = 10_000
	// maxMatch bounds the length of a regular expression times that of its text.
	maxMatch = 1 << 20
)

// guard wraps the operations that need a bound, and map literals, which lose
// their order otherwise.
func guard(i interpreter.Interpretable) (interpreter.Interpretable, error) {
	if c, ok := i.(interpreter.InterpretableConstructor); ok && c.Type() == types.MapType {
		return &mapLiteral{c}, nil
	}
	call, ok := i.(interpreter.InterpretableCall)
	if !ok {
		return i, nil
	}
	switch call.Function() {
	case operators.Add:
		return &boundedAdd{call}, nil
	case operators.Equals:
		return &boundedEquals{call, types.True}, nil
	case operators.NotEquals:
		return &boundedEquals{call, types.False}, nil
	case operators.In, operators.OldIn:
		return &boundedIn{call}, nil
	case overloads.Matches:
		return &boundedMatch{call}, nil
	}
	return i, nil
}

// mapLiteral makes an orderedMap.
type mapLiteral struct {
	interpreter.InterpretableConstructor
}

// Eval evaluates keys and values in the order in which they are written.
func (m *mapLiteral) Eval(vars interpreter.Activation) ref.Val {
	init := m.InitVals()
	out := newOrderedMap(len(init) / 2)
	for i := 0; i+1 < len(init); i += 2 {
		key := init[i].Eval(vars)
		if types.IsUnknownOrError(key) {
			return key
		}
		val := init[i+1].Eval(vars)
		if types.IsUnknownOrError(val) {
			return val
		}
		switch fresh, ok := out.put(key, val); {
		case !ok:
			return types.NewErr("a key of a map must be text, a whole number or a boolean, not %s", key.Type().TypeName())
		case !fresh:
			return types.NewErr("key %s is written twice in a map", Tell(key))
		}
	}
	return out
}

// boundedAdd bounds texts and lists. A sum of lists is a tree in CEL, whose size
// takes time exponential in its depth to tell where parts are shared; here it
// becomes a plain list at once.
type boundedAdd struct {
	interpreter.InterpretableCall
}

func (a *boundedAdd) Eval(vars interpreter.Activation) ref.Val {
	sum := a.InterpretableCall.Eval(vars)
	switch sum := sum.(type) {
	case types.String:
		if len(sum) > maxText {
			return types.WrapErr(errTextTooLong)
		}
	case types.Bytes:
		if len(sum) > maxText {
			return types.WrapErr(errTextTooLong)
		}
	case traits.MutableLister:
		return sum // a loop's own, which grows in place
	case traits.Lister:
		if n, ok := sum.Size().(types.Int); !ok || n > maxList {
			return types.NewErr("a list of more than %d values", maxList)
		}
		var items []ref.Val
		_ = EachItem(sum, func(v ref.Val) error {
			items = append(items, v)
			return nil
		})
		return listOf(items)
	}
	return sum
}

// boundedEquals compares values that are not too large to.
type boundedEquals struct {
	interpreter.InterpretableCall
	yes types.Bool
}

func (e *boundedEquals) Eval(vars interpreter.Activation) ref.Val {
	left, right, bad := operands(e.InterpretableCall, vars)
	if bad != nil {
		return bad
	}
	equal := types.Equal(left, right)
	if equal != types.True && equal != types.False {
		return equal
	}
	return types.Bool(equal == e.yes)
}

// boundedIn looks for a value in a list or a key in a map.
type boundedIn struct {
	interpreter.InterpretableCall
}

func (e *boundedIn) Eval(vars interpreter.Activation) ref.Val {
	what, where, bad := operands(e.InterpretableCall, vars)
	if bad != nil {
		return bad
	}
	c, ok := where.(traits.Container)
	if !ok || !where.Type().HasTrait(traits.ContainerType) {
		return types.MaybeNoSuchOverloadErr(where)
	}
	return c.Contains(what)
}

// operands evaluates both and weighs those that are not scalars.
func operands(call interpreter.InterpretableCall, vars interpreter.Activation) (left, right, bad ref.Val) {
	args := call.Args()
	left = args[0].Eval(vars)
	right = args[1].Eval(vars)
	for _, v := range []ref.Val{left, right} {
		if types.IsUnknownOrError(v) {
			return nil, nil, v
		}
		if _, err := Weigh(v); err != nil {
			return nil, nil, types.WrapErr(err)
		}
	}
	return left, right, nil
}

// boundedMatch bounds the time that a regular expression takes.
type boundedMatch struct {
	interpreter.InterpretableCall
}

func (m *boundedMatch) Eval(vars interpreter.Activation) ref.Val {
	args := m.Args()
	text := args[0].Eval(vars)
	if types.IsUnknownOrError(text) {
		return text
	}
	pattern := args[1].Eval(vars)
	if types.IsUnknownOrError(pattern) {
		return pattern
	}
	t, isText := text.(types.String)
	p, isPattern := pattern.(types.String)
	if !isText || !isPattern {
		return types.MaybeNoSuchOverloadErr(text)
	}
	if (len(t)+1)*(len(p)+1) > maxMatch {
		return types.NewErr("matches: text and pattern are too long")
	}
	return t.Match(p)
}

// costs tells the cost tracker what operations take that walk through values.
type costs struct{}

var _ interpreter.ActualCostEstimator = costs{}

// CallCost is 1 and more for long texts, large values and regular expressions.
func (costs) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	cost := 1 + length(result)/10
	for _, arg := range args {
		cost += length(arg) / 10
	}
	switch function {
	case operators.Equals, operators.NotEquals, operators.In, operators.OldIn, "toJson":
		for _, arg := range args {
			n, _ := Weigh(arg)
			cost += uint64(n) / 4
		}
	case operators.Add:
		if l, ok := result.(traits.Lister); ok {
			if _, mutable := l.(traits.MutableLister); !mutable {
				cost += uint64(l.Size().(types.Int)) / 4
			}
		}
	case overloads.Matches:
		if len(args) == 2 && !types.IsError(result) {
			cost += (length(args[0]) + 1) * (length(args[1]) + 1) / 10
		}
	}
	return &cost
}

// length is that of a text; other values have none.
func length(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v))
	case types.Bytes:
		return uint64(len(v))
	}
	return 0
}

// programOptions are those of every expression.
func programOptions() []cel.ProgramOption {
	return []cel.ProgramOption{
		cel.CustomDecorator(guard),
		cel.CostTracking(costs{}),
		cel.CostLimit(maxCost),
	}
}
