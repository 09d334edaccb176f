// Package expr compiles and evaluates the expressions of a template file: CEL whose
// every evaluation ends soon, whatever is written, and all of a file's together too.
//
// A Scope is the names that a part of the file may use. Values keep the order of
// their maps, so that a file renders to the same templates every time.
package expr
