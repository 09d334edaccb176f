// Package hubload puts a hub under load: the program slipway-hub as a process with
// its own data folder, and hosts simulated in this process.
//
// A simulated host is an agent.Agent, as slipway-agent holds one, over a
// backend/memory engine: sessions, frames, looks, facts and stats are those of
// life, and nothing runs but goroutines. Hosts are added and enrolled by the hub's
// API, and runners are launched by the hub's own loop, to keep the idle floor of
// scale sets: rows, records and registrations are as they are in life. The runners
// never enrol, and no deadline ends them while a measurement takes.
package hubload
