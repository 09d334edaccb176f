package file

import (
	"encoding/json"
	"maps"
	"slices"
)

// schema is a JSON Schema.
type schema map[string]any

func (s schema) with(key string, value any) schema {
	s = maps.Clone(s)
	s[key] = value
	return s
}

// expressionPattern is a text with an expression in it.
const expressionPattern = `\$\{\{`

func textSchema() schema              { return schema{"type": "string", "minLength": 1} }
func boolSchema() schema              { return schema{"type": "boolean"} }
func aboveZeroSchema() schema         { return schema{"type": "number", "exclusiveMinimum": 0} }
func enumSchema(w []string) schema    { return schema{"enum": w} }
func listSchema(item schema) schema   { return schema{"type": "array", "items": item} }
func scalarSchema(t ...string) schema { return schema{"type": t} }
func wholeSchema(low, high int) schema {
	return schema{"type": "integer", "minimum": low, "maximum": high}
}

func sizeSchema() schema {
	return schema{"anyOf": []schema{
		{"type": "number", "minimum": 1},
		{"type": "string", "pattern": `^\s*\d+(\.\d+)?\s*([bB]|[kKmMgGtT]([iI]?[bB])?)?\s*$`},
	}}
}

func durationSchema() schema {
	return schema{"type": "string", "pattern": `^\+?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*$`}
}

func wordsSchema() schema {
	return schema{"anyOf": []schema{textSchema(), listSchema(scalarSchema("string", "number", "boolean")).with("minItems", 1)}}
}

func mountsSchema() schema {
	mount := schema{
		"type": "object", "additionalProperties": false,
		"required": []string{"target"},
		"properties": schema{
			"volume":    orExpression(textSchema()),
			"bind":      orExpression(textSchema()),
			"target":    orExpression(textSchema()),
			"read_only": orExpression(boolSchema()),
		},
		"oneOf": []schema{{"required": []string{"volume"}}, {"required": []string{"bind"}}},
	}
	return listSchema(mount)
}

// orExpression allows an expression in the place of a value; a text may hold one
// anyway, where no pattern forbids it.
func orExpression(s schema) schema {
	return schema{"anyOf": []schema{s, {"type": "string", "pattern": expressionPattern}}}
}

// Schema is the JSON Schema (draft 2020-12) of the file, for editors. It is made
// from the table of fields. What needs more than one field, expressions or the
// operator's options it can't tell; Parse can.
func Schema() []byte {
	properties := schema{}
	for _, f := range fields {
		properties[f.name] = schema{
			"description": describeField(f),
			"anyOf":       []schema{f.schema, {"type": "string", "pattern": expressionPattern}, {"type": "null"}},
		}
	}
	body := schema{"type": "object", "additionalProperties": false, "properties": properties}
	expression := schema{"type": "string", "pattern": expressionPattern}
	anything := schema{"type": "object"}
	familySchema := schema{
		"type": "object", "additionalProperties": false,
		"required": []string{"axes", "template"},
		"properties": schema{
			"axes": schema{
				"description": "Name to values: a list, or one expression over vars that gives a list. Crossed in this order, the first is the most significant.",
				"type":        "object", "minProperties": 1,
				"additionalProperties": schema{"anyOf": []schema{{"type": "array", "minItems": 1}, expression}},
			},
			"exclude":  schema{"description": "Variants to drop: those that match all values of one entry.", "type": "array", "items": anything.with("minProperties", 1)},
			"include":  schema{"description": "Variants to append: a value for every axis.", "type": "array", "items": anything},
			"let":      schema{"description": "Names for expressions, each seeing vars, the axes and the names before it.", "type": "object", "additionalProperties": expression},
			"key":      expression.with("description", "The template's key. Without it: the family's name and the values of the axes, joined with -."),
			"template": schema{"$ref": "#/$defs/template"},
		},
	}
	return encodeSchema(schema{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "Slipway template file",
		"description": "Recipes for runners: hand-written ones, and families made from a matrix.",
		"type":        "object", "additionalProperties": false,
		"properties": schema{
			"templates": schema{"description": "Hand-written templates by key.", "type": "object", "additionalProperties": schema{"$ref": "#/$defs/template"}},
			"vars":      anything.with("description", "Any data, for expressions: vars.name."),
			"defaults":  schema{"description": "Merged under every template.", "$ref": "#/$defs/template"},
			"matrix":    schema{"description": "Families of templates by name.", "type": "object", "additionalProperties": schema{"$ref": "#/$defs/family"}},
		},
		"$defs": schema{"template": body, "family": familySchema},
	})
}

func encodeSchema(s schema) []byte {
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // the schema is ours and constant
	}
	return slices.Concat(out, []byte("\n"))
}

func describeField(f field) string {
	text := f.doc + " Takes: " + f.value + "."
	switch {
	case f.required:
		return text + " Required."
	case f.fallback != "":
		return text + " Default: " + f.fallback + "."
	}
	return text
}
