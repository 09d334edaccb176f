// Package client is the typed client of a hub's own API: jobs, their logs, and
// tokens. It needs the standard library and a back-off, nothing else of the hub.
package client
