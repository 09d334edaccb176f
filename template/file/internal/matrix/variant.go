package matrix

import (
	"maps"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/slipway-ci/slipway/template/file/internal/document"
	"github.com/slipway-ci/slipway/template/file/internal/expr"
)

// Variant is one template to be generated.
type Variant struct {
	Family *Family
	values []ref.Val
}

// String tells a variant's axes: os=linux, cpu=2.
func (v Variant) String() string {
	parts := make([]string, len(v.values))
	for i, val := range v.values {
		parts[i] = v.Family.axes[i].name + "=" + bindingText(val)
	}
	return strings.Join(parts, ", ")
}

func bindingText(v ref.Val) string {
	if s, ok := v.(types.String); ok {
		return document.Shorten(string(s))
	}
	return expr.Tell(v)
}

// Variants are the product without what is excluded, then the include list. The
// scope is the one that Open gave.
func (f *Family) Variants(s *expr.Scope) []Variant {
	var out []Variant
	index := make([]int, len(f.axes))
	for {
		values := make([]ref.Val, len(f.axes))
		for i, a := range f.axes {
			values[i] = a.values[index[i]]
		}
		if !f.excluded(s, values) {
			out = append(out, Variant{f, values})
		}
		i := len(index) - 1
		for ; i >= 0; i-- { // the last axis runs fastest
			if index[i]++; index[i] < len(f.axes[i].values) {
				break
			}
			index[i] = 0
		}
		if i < 0 {
			break
		}
	}
	if s.Left() < 0 {
		f.doc.Add(f.Pos, document.Join("matrix", f.Name), "comparing the variants with exclude costs too much")
		return nil
	}
	for i := range f.exclude {
		if b := &f.exclude[i]; !b.used {
			f.doc.Warn(b.pos, "matrix.%s: this exclusion matches no variant", f.Name)
		}
	}
	for _, b := range f.include {
		out = append(out, Variant{f, b.values})
	}
	return out
}

func (f *Family) excluded(s *expr.Scope, values []ref.Val) bool {
	out := false
	for i := range f.exclude {
		b := &f.exclude[i]
		if s.Spend(b.weight); s.Left() < 0 {
			return false // Variants tells
		}
		if b.matches(values) {
			b.used, out = true, true
		}
	}
	return out
}

// Bind evaluates what is the variant's own: the names that its template sees, vars
// among them, and its key. A problem's path begins in the family.
func (v Variant) Bind(s *expr.Scope) (names map[string]any, key string, bad *document.Problem) {
	names = maps.Clone(s.Vars())
	for i, a := range v.Family.axes {
		names[a.name] = v.values[i]
	}
	for _, let := range v.Family.lets {
		val, bad := s.Value(let.Val, names)
		if bad != nil {
			bad.Path = document.Join("let", let.Key)
			return nil, "", bad
		}
		names[let.Key] = val
	}
	if key, bad = v.key(s, names); bad != nil {
		bad.Path = "key"
	}
	return names, key, bad
}
