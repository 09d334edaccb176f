// Package hub is the hub assembled: the job queue on its store, hosts and scale
// sets, a loop for each control plane over the hosts as one fleet, the HTTP APIs over
// all of it, and what watches over the disk.
//
// The main listener serves everything and is meant for this machine: it speaks
// plain HTTP, so Config refuses an address that is not loopback unless told
// otherwise. Further listeners serve the routes of runners alone: on addresses
// that are named, and on this machine's own container bridges, which come and go.
//
// Open binds the listeners, so addresses and the first admin token are known
// before Run serves them. Without hosts it launches nothing: provisioners over the
// API do, or one in this process over the queue (see the example).
package hub
