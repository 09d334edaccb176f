// Package provisioner is the loop that turns waiting jobs into runners.
//
// It asks a ControlPlane which jobs wait, and keeps a backend.Backend at what
// that calls for: one planner owns all state and decides in the pure function
// Plan; feeders (poller, lister) bring it news; workers do its deeds.
//
// It knows no engine, no HTTP API and no database: who embeds it gets none.
package provisioner
