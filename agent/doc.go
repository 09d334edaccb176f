// Package agent serves one local backend.Backend to a hub.
//
// An Agent dials out over a WebSocket, says who it is, sends the full list of
// its runners and then what changes, and does what the hub asks: launch, remove,
// list, prepare, logs; and through the hooks of its Config rotate, update and stats.
// It decides nothing, but for one thing: while it is cut off it ends runners that
// are past their maximum lifetime.
//
// A session is one connection and dies whole; launches under way do not die with
// it. What the agent knows (mirror) outlives sessions, and every session begins
// with all of it. docs/agent-protocol.md describes the frames.
package agent
