package file_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"

	"github.com/slipway-ci/slipway/template/file"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// TestSchemaAcceptsWhatParseAccepts: an editor never marks a file that is fine.
func TestSchemaAcceptsWhatParseAccepts(t *testing.T) {
	v := newValidator(t)
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	accepted := 0
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, c := range readCases(t, string(data)) {
			if _, err := file.Parse("t.yaml", []byte(c.input), c.opts); err != nil {
				continue
			}
			accepted++
			require.Empty(t, v.check(t, c.input), c.title)
		}
	}
	require.Greater(t, accepted, 20)
}

func TestSchemaRefuses(t *testing.T) {
	v := newValidator(t)
	for name, input := range map[string]string{
		"an unknown key":         "template: {}",
		"an unknown field":       "templates: {a: {imgae: x}}",
		"in the defaults":        "defaults: {imgae: x}",
		"in a family":            "matrix: {f: {axes: {a: [1]}, template: {}, lets: {}}}",
		"in a family's template": "matrix: {f: {axes: {a: [1]}, template: {imgae: x}}}",
		"no axes":                "matrix: {f: {template: {}}}",
		"an empty axis":          "matrix: {f: {axes: {a: []}, template: {}}}",
		"a text as an axis":      "matrix: {f: {axes: {a: x}, template: {}}}",
		"a text as a let":        "matrix: {f: {axes: {a: [1]}, let: {b: x}, template: {}}}",
		"a wrong size":           "templates: {a: {memory: lots}}",
		"no unit":                "templates: {a: {max_lifetime: 90}}",
		"a fraction":             "templates: {a: {max_concurrency: 1.5}}",
		"out of bounds":          "templates: {a: {max_concurrency: 0}}",
		"no processes":           "templates: {a: {pids_limit: 0}}",
		"another system":         "templates: {a: {os: macos}}",
		"a mount of two kinds":   "templates: {a: {mounts: [{volume: a, bind: /b, target: /c}]}}",
		"a mount without target": "templates: {a: {mounts: [{volume: a}]}}",
		"cpu as text":            "templates: {a: {cpu: '2'}}",
		"a flag as text":         "templates: {a: {privileged: 'yes'}}",
	} {
		require.NotEmpty(t, v.check(t, input), name)
	}
}

// validator checks the part of JSON Schema that the schema uses; it fails on a
// keyword that it does not know.
type validator struct {
	root     map[string]any
	patterns map[string]*regexp.Regexp
}

func (v *validator) pattern(text string) *regexp.Regexp {
	if v.patterns[text] == nil {
		v.patterns[text] = regexp.MustCompile(text)
	}
	return v.patterns[text]
}

func newValidator(t *testing.T) *validator {
	v := &validator{patterns: map[string]*regexp.Regexp{}}
	require.NoError(t, json.Unmarshal(file.Schema(), &v.root))
	return v
}

func (v *validator) check(t *testing.T, input string) string {
	var doc any
	require.NoError(t, yaml.Unmarshal([]byte(input), &doc))
	data, err := json.Marshal(textKeys(doc))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &doc))
	return v.why(t, v.root, doc, "")
}

// textKeys makes every key text, as JSON needs it.
func textKeys(doc any) any {
	switch doc := doc.(type) {
	case map[string]any:
		for key, val := range doc {
			doc[key] = textKeys(val)
		}
	case map[any]any:
		out := map[string]any{}
		for key, val := range doc {
			out[fmt.Sprint(key)] = textKeys(val)
		}
		return out
	case []any:
		for i, val := range doc {
			doc[i] = textKeys(val)
		}
	}
	return doc
}

// why is the first reason why doc does not fit, or empty.
func (v *validator) why(t *testing.T, schema map[string]any, doc any, at string) string {
	for keyword, arg := range schema {
		if reason := v.keyword(t, schema, keyword, arg, doc, at); reason != "" {
			return reason
		}
	}
	return ""
}

func (v *validator) keyword(t *testing.T, schema map[string]any, keyword string, arg, doc any, at string) string {
	number, isNumber := doc.(float64)
	text, isText := doc.(string)
	list, isList := doc.([]any)
	object, isObject := doc.(map[string]any)
	bad := false
	switch keyword {
	case "$schema", "title", "description", "examples", "$defs":
	case "$ref":
		name := filepath.Base(arg.(string))
		return v.why(t, v.root["$defs"].(map[string]any)[name].(map[string]any), doc, at)
	case "type":
		bad = !hasType(arg, doc)
	case "const":
		bad = !reflect.DeepEqual(arg, doc)
	case "enum":
		bad = true
		for _, one := range arg.([]any) {
			bad = bad && !reflect.DeepEqual(one, doc)
		}
	case "not":
		bad = v.why(t, arg.(map[string]any), doc, at) == ""
	case "anyOf", "oneOf":
		fits := 0
		for _, one := range arg.([]any) {
			if v.why(t, one.(map[string]any), doc, at) == "" {
				fits++
			}
		}
		bad = fits == 0 || keyword == "oneOf" && fits > 1
	case "minimum":
		bad = isNumber && number < arg.(float64)
	case "maximum":
		bad = isNumber && number > arg.(float64)
	case "exclusiveMinimum":
		bad = isNumber && number <= arg.(float64)
	case "minLength":
		bad = isText && len(text) < int(arg.(float64))
	case "pattern":
		bad = isText && !v.pattern(arg.(string)).MatchString(text)
	case "minItems":
		bad = isList && len(list) < int(arg.(float64))
	case "minProperties":
		bad = isObject && len(object) < int(arg.(float64))
	case "items":
		for _, item := range list {
			if reason := v.why(t, arg.(map[string]any), item, at+"[]"); reason != "" {
				return reason
			}
		}
	case "required":
		for _, key := range arg.([]any) {
			_, there := object[key.(string)]
			bad = bad || isObject && !there
		}
	case "properties":
		for key, val := range object {
			if sub, ok := arg.(map[string]any)[key].(map[string]any); ok {
				if reason := v.why(t, sub, val, at+"."+key); reason != "" {
					return reason
				}
			}
		}
	case "propertyNames":
		for key := range object {
			if reason := v.why(t, arg.(map[string]any), key, at+"."+key); reason != "" {
				return reason
			}
		}
	case "additionalProperties":
		known, _ := schema["properties"].(map[string]any)
		for key, val := range object {
			if _, ok := known[key]; ok {
				continue
			}
			if arg == false {
				return at + ": unknown " + key
			}
			if reason := v.why(t, arg.(map[string]any), val, at+"."+key); reason != "" {
				return reason
			}
		}
	default:
		t.Fatalf("keyword %s is not known to this test", keyword)
	}
	if bad {
		return at + ": " + keyword
	}
	return ""
}

func hasType(arg, doc any) bool {
	types, ok := arg.([]any)
	if !ok {
		types = []any{arg}
	}
	for _, one := range types {
		number, isNumber := doc.(float64)
		fits := false
		switch one {
		case "string":
			_, fits = doc.(string)
		case "boolean":
			_, fits = doc.(bool)
		case "null":
			fits = doc == nil
		case "number":
			fits = isNumber
		case "integer":
			fits = isNumber && number == math.Trunc(number)
		case "array":
			_, fits = doc.([]any)
		case "object":
			_, fits = doc.(map[string]any)
		}
		if fits {
			return true
		}
	}
	return false
}
