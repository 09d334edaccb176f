package scalesets

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Diff is what Apply changes, or would.
type Diff struct {
	// DryRun: nothing was changed.
	DryRun bool
	// Changes by name. What stays as it is is in Unchanged.
	Changes   []Change
	Unchanged []string
	// Revision is that of all scale sets before the changes, for
	// ApplyOptions.Revision.
	Revision int64
	// Warnings are about what the file has and probably does not mean.
	Warnings []string
}

// Action is what happens to a scale set.
type Action string

// The actions.
const (
	ActionCreate Action = "create"
	ActionEdit   Action = "edit"
	ActionDelete Action = "delete"
)

// Change is what a Diff does to one scale set.
type Change struct {
	ScaleSet string
	Action   Action
	// Fields are in the order of the reference: of a create, what is set; of a
	// delete, none.
	Fields []FieldChange
}

// FieldChange is one field before and after; nil: it is not set. The values are those
// of a Document's fields.
type FieldChange struct {
	Field         string
	Before, After any
}

// String is for people: field: before -> after, in JSON.
func (f FieldChange) String() string {
	return fmt.Sprintf("%s: %s -> %s", f.Field, valueText(f.Before), valueText(f.After))
}

func valueText(v any) string {
	if v == nil {
		return "unset"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// String is for people: a line for each scale set that changes, and one for each
// of its fields.
func (d Diff) String() string {
	var b strings.Builder
	for _, c := range d.Changes {
		fmt.Fprintf(&b, "%s %s\n", c.Action, c.ScaleSet)
		for _, f := range c.Fields {
			fmt.Fprintf(&b, "  %s\n", f)
		}
	}
	return b.String()
}

// compare lists the fields that differ.
func compare(before, after Document) (out []FieldChange) {
	x, y := reflect.ValueOf(before), reflect.ValueOf(after)
	for i := range x.NumField() {
		b, a := set(x.Field(i)), set(y.Field(i))
		if !reflect.DeepEqual(b, a) {
			out = append(out, FieldChange{Field: fieldName(i), Before: b, After: a})
		}
	}
	return out
}

// fieldName is the name of a Document's field in JSON and YAML.
func fieldName(i int) string {
	name, _, _ := strings.Cut(reflect.TypeFor[Document]().Field(i).Tag.Get("json"), ",")
	return name
}

// set is a field's value, or nil where the document leaves it out.
func set(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		if v.Len() == 0 {
			return nil
		}
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return v.Elem().Interface()
	default:
		if v.IsZero() {
			return nil
		}
	}
	return v.Interface()
}
