package field

import "maps"

// Schema is a JSON Schema (draft 2020-12).
type Schema map[string]any

// With is a copy with one keyword more.
func (s Schema) With(key string, value any) Schema {
	s = maps.Clone(s)
	s[key] = value
	return s
}

// ExpressionPattern is a text with an expression in it.
const ExpressionPattern = `\$\{\{`

func textSchema() Schema              { return Schema{"type": "string", "minLength": 1} }
func boolSchema() Schema              { return Schema{"type": "boolean"} }
func aboveZeroSchema() Schema         { return Schema{"type": "number", "exclusiveMinimum": 0} }
func enumSchema(w []string) Schema    { return Schema{"enum": w} }
func listSchema(item Schema) Schema   { return Schema{"type": "array", "items": item} }
func scalarSchema(t ...string) Schema { return Schema{"type": t} }
func wholeSchema(low, high int) Schema {
	return Schema{"type": "integer", "minimum": low, "maximum": high}
}

func sizeSchema() Schema {
	return Schema{"anyOf": []Schema{
		{"type": "number", "minimum": 1},
		{"type": "string", "pattern": `^\s*\d+(\.\d+)?\s*([bB]|[kKmMgGtT]([iI]?[bB])?)?\s*$`},
	}}
}

func durationSchema() Schema {
	return Schema{"type": "string", "pattern": `^\+?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*$`}
}

func wordsSchema() Schema {
	return Schema{"anyOf": []Schema{textSchema(), listSchema(scalarSchema("string", "number", "boolean")).With("minItems", 1)}}
}

func mountsSchema() Schema {
	mount := Schema{
		"type": "object", "additionalProperties": false,
		"required": []string{"target"},
		"properties": Schema{
			"volume":    orExpression(textSchema()),
			"bind":      orExpression(textSchema()),
			"target":    orExpression(textSchema()),
			"read_only": orExpression(boolSchema()),
		},
		"oneOf": []Schema{{"required": []string{"volume"}}, {"required": []string{"bind"}}},
	}
	return listSchema(mount)
}

// orExpression allows an expression in the place of a value; a text may hold one
// anyway, where no pattern forbids it.
func orExpression(s Schema) Schema {
	return Schema{"anyOf": []Schema{s, {"type": "string", "pattern": ExpressionPattern}}}
}

// Properties are the schemas of a table's fields by name, each of which takes what
// also says, too.
func Properties(table []Field, also ...Schema) Schema {
	out := Schema{}
	for _, f := range table {
		out[f.Name] = Schema{"description": f.describe(), "anyOf": append([]Schema{f.Schema}, also...)}
	}
	return out
}

// describe is a field in a sentence or four.
func (f Field) describe() string {
	text := f.Doc + " Takes: " + f.Value + "."
	switch {
	case f.Required:
		return text + " Required."
	case f.Fallback != "":
		return text + " Default: " + f.Fallback + "."
	}
	return text
}
