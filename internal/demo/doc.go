// Package demo shows the whole way of a few jobs, from waiting to done, in one
// process: a hub on loopback in a temporary folder, the loop over its queue, and
// a backend.
//
// Whatever happens, nothing is left behind: the runners are removed through the
// backend, the hub is closed and the folder deleted before Run returns.
package demo
