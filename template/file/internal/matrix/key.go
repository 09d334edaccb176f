package matrix

import (
	"fmt"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/slipway-ci/slipway/template/file/internal/document"
	"github.com/slipway-ci/slipway/template/file/internal/expr"
)

// maxKey is how long a template's key may be, in bytes.
const maxKey = 255

// CheckKey says what is wrong with a template's key, if anything.
func CheckKey(key string) string {
	switch {
	case key == "":
		return "an empty key"
	case len(key) > maxKey:
		return "a key of more than 255 bytes"
	case strings.ContainsFunc(key, document.IsControl):
		return "a key with control characters"
	case strings.TrimSpace(key) == "":
		return "a blank key"
	}
	return ""
}

// key is the family's expression, or else made of the axes.
func (v Variant) key(s *expr.Scope, vars map[string]any) (string, *document.Problem) {
	f := v.Family
	fail := func(format string, args ...any) *document.Problem {
		return &document.Problem{Pos: f.keyPos, Message: fmt.Sprintf(format, args...)}
	}
	if f.key == nil {
		key, err := v.defaultKey()
		if err != nil {
			return "", fail("%v: give the family a key", err)
		}
		if problem := CheckKey(key); problem != "" {
			return "", fail("%s", problem)
		}
		return key, nil
	}
	val, bad := s.Value(f.key, vars)
	if bad != nil {
		return "", bad
	}
	switch val.(type) {
	case types.Null, traits.Mapper, traits.Lister:
		return "", fail("must give text, this is %s", expr.Tell(val))
	}
	key, err := expr.TextOf(val)
	if err != nil {
		return "", fail("%v", err)
	}
	if problem := CheckKey(key); problem != "" {
		return "", fail("%s: %s", problem, document.Quote(key))
	}
	return key, nil
}

var escapeKey = strings.NewReplacer("%", "%25", "-", "%2D")

// defaultKey joins the family's name and the values with "-", which is escaped
// inside of them.
func (v Variant) defaultKey() (string, error) {
	parts := []string{escapeKey.Replace(v.Family.Name)}
	for i, val := range v.values {
		text, err := keyPart(val)
		if err != nil {
			return "", fmt.Errorf("axis %s: %w", v.Family.axes[i].name, err)
		}
		parts = append(parts, escapeKey.Replace(text))
	}
	return strings.Join(parts, "-"), nil
}

func keyPart(val ref.Val) (string, error) {
	if m, ok := val.(traits.Mapper); ok {
		name, ok := m.Find(types.String("name"))
		if !ok {
			return "", fmt.Errorf("a map without a name can't be part of a key")
		}
		if name == types.NullValue {
			return "", fmt.Errorf("a map whose name is null can't be part of a key")
		}
		if _, ok := name.(traits.Mapper); ok {
			return "", fmt.Errorf("a map whose name is a map can't be part of a key")
		}
		val = name
	}
	if _, ok := val.(traits.Lister); ok {
		return "", fmt.Errorf("a list can't be part of a key")
	}
	return expr.TextOf(val)
}

// Clash tells which variants, two or more, have one key, and the axes in which they
// differ.
func Clash(key string, variants []Variant) {
	a, b := variants[0], variants[1]
	message := fmt.Sprintf("two generated templates with the key %s: matrix.%s (%s) and matrix.%s (%s)",
		document.Quote(key), a.Family.Name, a, b.Family.Name, b)
	if a.Family == b.Family {
		var differ []string
		for i, axis := range a.Family.axes {
			if types.Equal(a.values[i], b.values[i]) != types.True {
				differ = append(differ, axis.name)
			}
		}
		if differ == nil {
			message += "; their axes are the same"
		} else {
			message += "; they differ in " + strings.Join(differ, ", ")
		}
	}
	if more := len(variants) - 2; more > 0 {
		message += fmt.Sprintf("; %d more have it too", more)
	}
	b.Family.doc.Add(b.Family.keyPos, "", "%s", message)
}
