// Package agentd is the program slipway-agent: it enrols a host with a hub and
// serves the host's engine to it.
//
// The parts are elsewhere: package agent talks to the hub, docker and process start
// runners, agent/policy judges what a hub asks for. Here they are put together, with
// the host's engine (engine), a data folder (identity), updates of the program itself
// (update), and what an operator looks at.
package agentd
