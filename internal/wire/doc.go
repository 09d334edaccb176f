// Package wire is what an agent and a hub say to each other: frames, their
// limits, the errors that cross, and the link that carries them over a
// WebSocket. docs/agent-protocol.md describes it for other languages.
//
// A Link is one connection: one reader, one writer, a bounded queue between the
// callers and the socket. It dies whole. What a frame means is not its business.
package wire
