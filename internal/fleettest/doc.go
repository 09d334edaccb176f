// Package fleettest tries the real programs, slipway-hub, slipway-agent and slipway,
// on real engines: one hub and its hosts, each with an engine of its own in a network
// namespace of its own, so that a host's cable can be pulled. It has tests alone.
package fleettest
