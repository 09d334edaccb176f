package expr

import (
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/slipway-ci/slipway/template/file/internal/document"
)

// maxRange is how many values range may give in one evaluation.
const maxRange = 1000

// functionNames are the functions beside CEL's own, for "did you mean".
var functionNames = []string{"range", "toJson", "fromJson"}

// functions declares them; the count of range's values is ev's.
func (ev *evaluator) functions() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function("range",
			cel.Overload("range_start_stop_step", []*cel.Type{cel.DynType, cel.DynType, cel.DynType},
				cel.ListType(cel.IntType), cel.FunctionBinding(ev.rangeOf))),
		cel.Function("toJson",
			cel.Overload("to_json_dyn", []*cel.Type{cel.DynType}, cel.StringType,
				cel.UnaryBinding(toJSON))),
		cel.Function("fromJson",
			cel.Overload("from_json_string", []*cel.Type{cel.StringType}, cel.DynType,
				cel.UnaryBinding(fromJSON))),
	}
}

// rangeOf gives the whole numbers from start to stop, stop included.
func (ev *evaluator) rangeOf(args ...ref.Val) ref.Val {
	bounds := make([]int64, len(args))
	for i, arg := range args {
		n, ok := wholeNumber(arg)
		if !ok {
			return types.NewErr("range takes three whole numbers, the %s is %s",
				[]string{"start", "stop", "step"}[i], Tell(arg))
		}
		bounds[i] = n
	}
	start, stop, step := bounds[0], bounds[1], bounds[2]
	if step <= 0 {
		return types.NewErr("range: the step is %d and must be above 0", step)
	}
	if start > stop {
		return listOf([]ref.Val{})
	}
	// Unsigned: the distance of two int64 may not fit in one.
	steps := (uint64(stop) - uint64(start)) / uint64(step)
	if steps >= uint64(maxRange-ev.ranged) {
		return types.NewErr("range gives more than %d values", maxRange)
	}
	items := make([]ref.Val, steps+1)
	ev.ranged += len(items)
	for i := range items {
		items[i] = types.Int(start + int64(i)*step)
	}
	return listOf(items)
}

func wholeNumber(v ref.Val) (int64, bool) {
	switch v := v.(type) {
	case types.Int:
		return int64(v), true
	case types.Double:
		// Beyond 2^53 a double is not what was written.
		ok := v == types.Double(int64(v)) && v <= 1<<53 && v >= -(1<<53)
		return int64(v), ok
	}
	return 0, false
}

// Tell shows a value in a message.
func Tell(v ref.Val) string {
	if v == types.NullValue {
		return "null"
	}
	text, err := TextOf(v)
	if err != nil {
		return v.Type().TypeName()
	}
	if _, ok := v.(types.String); ok {
		return document.Quote(text)
	}
	return document.Shorten(text)
}

func toJSON(v ref.Val) ref.Val {
	if _, err := Weigh(v); err != nil {
		return types.NewErr("toJson: %v", err)
	}
	var b strings.Builder
	if err := writeJSON(&b, v); err != nil {
		return types.NewErr("toJson: %v", err)
	}
	return types.String(b.String())
}

func fromJSON(v ref.Val) ref.Val {
	s, ok := v.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(v)
	}
	out, err := parseJSON(string(s))
	if err != nil {
		return types.WrapErr(fmt.Errorf("fromJson: %w", err))
	}
	return out
}
