// Package field holds the tables of fields of a template and of a scale set. A field
// is told once: how it is decoded, its schema, its documentation and what people
// write for it by mistake.
package field
