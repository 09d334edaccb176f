package file

import (
	"encoding/json"
	"slices"

	"github.com/slipway-ci/slipway/template/file/internal/field"
)

// Schema is the JSON Schema (draft 2020-12) of the file, for editors. It is made
// from the table of fields. What needs more than one field, expressions or the
// operator's options it can't tell; Parse can.
func Schema() []byte {
	expression := field.Schema{"type": "string", "pattern": field.ExpressionPattern}
	body := field.Schema{"type": "object", "additionalProperties": false, "properties": field.Properties(field.Template(), expression, field.Schema{"type": "null"})}
	anything := field.Schema{"type": "object"}
	familySchema := field.Schema{
		"type": "object", "additionalProperties": false,
		"required": []string{"axes", "template"},
		"properties": field.Schema{
			"axes": field.Schema{
				"description": "Name to values: a list, or one expression over vars that gives a list. Crossed in this order, the first is the most significant.",
				"type":        "object", "minProperties": 1,
				"additionalProperties": field.Schema{"anyOf": []field.Schema{{"type": "array", "minItems": 1}, expression}},
			},
			"exclude":  field.Schema{"description": "Variants to drop: those that match all values of one entry.", "type": "array", "items": anything.With("minProperties", 1)},
			"include":  field.Schema{"description": "Variants to append: a value for every axis.", "type": "array", "items": anything},
			"let":      field.Schema{"description": "Names for expressions, each seeing vars, the axes and the names before it.", "type": "object", "additionalProperties": expression},
			"key":      expression.With("description", "The template's key. Without it: the family's name and the values of the axes, joined with -."),
			"template": field.Schema{"$ref": "#/$defs/template"},
		},
	}
	return encodeSchema(field.Schema{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "Slipway template file",
		"description": "Recipes for runners: hand-written ones, and families made from a matrix.",
		"type":        "object", "additionalProperties": false,
		"properties": field.Schema{
			"templates": field.Schema{"description": "Hand-written templates by key.", "type": "object", "additionalProperties": field.Schema{"$ref": "#/$defs/template"}},
			"vars":      anything.With("description", "Any data, for expressions: vars.name."),
			"defaults":  field.Schema{"description": "Merged under every template.", "$ref": "#/$defs/template"},
			"matrix":    field.Schema{"description": "Families of templates by name.", "type": "object", "additionalProperties": field.Schema{"$ref": "#/$defs/family"}},
		},
		"$defs": field.Schema{"template": body, "family": familySchema},
	})
}

// ScaleSetSchema is the JSON Schema (draft 2020-12) of a file of scale sets, for
// editors. It is made from the table of fields.
func ScaleSetSchema() []byte {
	table, required := field.ScaleSet(&field.Placement{}), []string{}
	for _, f := range table {
		if f.Required {
			required = append(required, f.Name)
		}
	}
	slices.Sort(required)
	return encodeSchema(field.Schema{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "Slipway scale sets",
		"description": "What slipway scale-sets apply takes and export gives.",
		"type":        "object", "additionalProperties": false,
		"required": scaleSetTop,
		"properties": field.Schema{
			"version": field.Schema{"const": 1},
			"scale_sets": field.Schema{
				"description": "Scale sets by name.", "type": "object",
				"propertyNames":        field.Schema{"pattern": `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`},
				"additionalProperties": field.Schema{"$ref": "#/$defs/scale_set"},
			},
		},
		"$defs": field.Schema{"scale_set": field.Schema{"type": "object", "additionalProperties": false, "required": required, "properties": field.Properties(table, field.Schema{"type": "null"})}},
	})
}

func encodeSchema(s field.Schema) []byte {
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // the schema is ours and constant
	}
	return slices.Concat(out, []byte("\n"))
}
