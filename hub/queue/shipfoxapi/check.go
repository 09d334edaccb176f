package shipfoxapi

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// check looks at a JSON value and says in the API's own words what is wrong with
// it, or nothing. The words are those of zod 4, which the API is written with:
// the recordings in testdata show them.
type check func(v any) string

type (
	object = map[string]any
	// undefined is what a missing field or body is.
	undefined struct{}
)

// field is one field of an object.
type field struct {
	name     string
	check    check
	optional bool
}

func needed(name string, c check) field   { return field{name: name, check: c} }
func optional(name string, c check) field { return field{name: name, check: c, optional: true} }

// anObject allows unknown fields.
func anObject(fields ...field) check {
	return func(v any) string { return checkObject(v, fields, false) }
}

// strict refuses them.
func strict(fields ...field) check { return func(v any) string { return checkObject(v, fields, true) } }

func checkObject(v any, fields []field, strict bool) string {
	o, ok := v.(object)
	if !ok {
		return wrongType("object", v)
	}
	for _, f := range fields {
		value, present := o[f.name]
		if !present {
			if f.optional {
				continue
			}
			value = undefined{}
		}
		if problem := f.check(value); problem != "" {
			return problem
		}
	}
	if !strict {
		return ""
	}
	var unknown []string
	for key := range o {
		if !slices.ContainsFunc(fields, func(f field) bool { return f.name == key }) {
			unknown = append(unknown, fmt.Sprintf("%q", key))
		}
	}
	slices.Sort(unknown)
	switch len(unknown) {
	case 0:
		return ""
	case 1:
		return "Unrecognized key: " + unknown[0]
	}
	return "Unrecognized keys: " + strings.Join(unknown, ", ")
}

// list is an array of lo to hi items.
func list(lo, hi int, item check) check {
	return func(v any) string {
		items, ok := v.([]any)
		switch {
		case !ok:
			return wrongType("array", v)
		case len(items) < lo:
			return fmt.Sprintf("Too small: expected array to have >=%d items", lo)
		case len(items) > hi:
			return fmt.Sprintf("Too big: expected array to have <=%d items", hi)
		}
		for _, v := range items {
			if problem := item(v); problem != "" {
				return problem
			}
		}
		return ""
	}
}

// text is a string of lo to hi characters; hi 0: without bound.
func text(lo, hi int) check {
	return func(v any) string {
		s, ok := v.(string)
		if !ok {
			return wrongType("string", v)
		}
		n := len(utf16.Encode([]rune(s)))
		switch {
		case n < lo:
			return fmt.Sprintf("Too small: expected string to have >=%d characters", lo)
		case hi > 0 && n > hi:
			return fmt.Sprintf("Too big: expected string to have <=%d characters", hi)
		}
		return ""
	}
}

// integer is a whole number; hi below lo: without bound.
func integer(lo, hi int) check {
	return func(v any) string {
		n, ok := v.(float64)
		switch {
		case !ok:
			return wrongType("number", v)
		case n != math.Trunc(n):
			return "Invalid input: expected int, received number"
		case n < float64(lo):
			return fmt.Sprintf("Too small: expected number to be >=%d", lo)
		case hi >= lo && n > float64(hi):
			return fmt.Sprintf("Too big: expected number to be <=%d", hi)
		case n > 1<<53-1:
			return "Too big: expected int to be <=9007199254740991"
		}
		return ""
	}
}

// unbounded is for integer's hi.
const unbounded = -1

// matching is a string of a pattern.
func matching(pattern *regexp.Regexp, problem string) check {
	return func(v any) string {
		s, ok := v.(string)
		if !ok {
			return wrongType("string", v)
		}
		if !pattern.MatchString(s) {
			return problem
		}
		return ""
	}
}

func all(checks ...check) check {
	return func(v any) string {
		for _, c := range checks {
			if problem := c(v); problem != "" {
				return problem
			}
		}
		return ""
	}
}

func oneOf(options ...string) check {
	quoted := make([]string, len(options))
	for i, o := range options {
		quoted[i] = fmt.Sprintf("%q", o)
	}
	problem := "Invalid option: expected one of " + strings.Join(quoted, "|")
	return func(v any) string {
		if s, ok := v.(string); !ok || !slices.Contains(options, s) {
			return problem
		}
		return ""
	}
}

var (
	uuidPattern = regexp.MustCompile(`^(?:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}|0{8}-0{4}-0{4}-0{4}-0{12}|f{8}-f{4}-f{4}-f{4}-f{12})$`)
	timePattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?Z$`)

	isUUID  = matching(uuidPattern, "Invalid UUID")
	isLabel = all(text(1, 128), matching(regexp.MustCompile(`(?i)^[a-z0-9][a-z0-9._-]*$`),
		"Invalid string: must match pattern /^[a-z0-9][a-z0-9._-]*$/i"))
	isLabels = list(1, 20, isLabel)
)

// isTime is RFC 3339 in UTC, with Z and nothing else.
func isTime(v any) string {
	s, ok := v.(string)
	if !ok {
		return wrongType("string", v)
	}
	if _, err := parseTime(s); err != nil || !timePattern.MatchString(s) {
		return "Invalid ISO datetime"
	}
	return ""
}

func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04Z", s)
	}
	return t, err
}

func wrongType(expected string, v any) string {
	return "Invalid input: expected " + expected + ", received " + typeName(v)
}

func typeName(v any) string {
	switch v.(type) {
	case undefined:
		return "undefined"
	case nil:
		return "null"
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "boolean"
	case []any:
		return "array"
	}
	return "object"
}

// unique refuses repeats of one field among the items of a list.
func unique(values []string, name string) error {
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		if seen[v] {
			return invalidBody(name + " values must be unique")
		}
		seen[v] = true
	}
	return nil
}

// The getters read checked values; what is missing is zero.

func str(o object, name string) string {
	s, _ := o[name].(string)
	return s
}

func num(o object, name string) int {
	n, _ := o[name].(float64)
	return int(min(n, 1<<31)) // only unbounded ones can be larger, and they are clamped later
}

func objects(o object, name string) []object {
	items, _ := o[name].([]any)
	out := make([]object, len(items))
	for i, item := range items {
		out[i], _ = item.(object)
	}
	return out
}

func strs(o object, name string) []string {
	items, _ := o[name].([]any)
	out := make([]string, len(items))
	for i, item := range items {
		out[i], _ = item.(string)
	}
	return out
}

// wireTime writes a time as the API does; nil for none.
func wireTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// nullable is null for an empty string.
func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}
