// Package client is the typed client of a hub's own API: jobs, their logs, hosts,
// scale sets, runners, events and tokens. Its types are what goes over the wire; the
// hub serves the same ones. It needs the standard library and a back-off, nothing
// else of the hub.
package client
