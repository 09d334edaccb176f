// Package hub is the hub assembled: the job queue on its store, the HTTP APIs
// over it, and what watches over the disk.
//
// The main listener serves everything and is meant for this machine: it speaks
// plain HTTP, so Config refuses an address that is not loopback unless told
// otherwise. Further listeners serve the routes of runners alone: on addresses
// that are named, and on this machine's own container bridges, which come and go.
//
// Open binds the listeners, so addresses and the first admin token are known
// before Run serves them. A hub runs no loop and launches nothing: a provisioner
// over the API does, or one in this process over Queue().ControlPlane.
package hub
