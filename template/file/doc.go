// Package file reads runner templates from the YAML template file.
//
// The file has hand-written templates, variables, defaults and matrix families
// whose fields may hold CEL expressions in ${{ }}. docs/templates.md is its
// reference. Parse renders it to template.Template values:
//
//   - the hand-written templates first, in the order of the file;
//   - then the families in the order of the file, and of each family the product
//     of its axes in declaration order (the first axis is the most significant),
//     followed by its include list;
//   - a generated template whose key a hand-written one bears is left out, with a
//     warning.
//
// Reading is strict and complete: whatever the file has that is not known is an
// error with line and column, and all errors are told at once. No input makes it
// hang: expressions have a bounded cost, each one and all of them together.
//
// The parts are internal: document reads YAML into nodes with places and collects
// what is wrong, expr evaluates, matrix crosses axes, and field has the table that
// drives the parser, the JSON Schema and the table in the reference.
package file
