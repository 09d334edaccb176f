// Package store keeps the hub's state: one SQLite file in a data folder that one
// process holds at a time.
//
// Write returns nil only when what it wrote is on disk (synchronous=FULL).
// All writes go through one goroutine, which commits those that wait together:
// one fsync serves them all. A write that fails is undone alone.
//
// The schema is in migrations/, applied by Open in the order of the file names.
package store
