// Package fleet is the hub's hosts as one backend.Backend.
//
// Each host runs an agent that dials in: Handler lets it in (package door), a session
// serves it, and Run must be running meanwhile. A session begins with the agent's
// full list; until that is taken over, in one step, the host gets nothing. The
// newest session of a host wins.
//
// List, Page, Capacity and the choice of a host are answered from memory, which the
// agents keep up to date. Launch, Remove, Prepare and Logs ask one agent. A host
// that does not answer holds up who asked it, and nobody else.
//
// Which hosts a template's runners may live on is set by SetPlacements. Whether a
// host may get one now, how many, and whose turn it is, package placement decides;
// this one keeps true what that looks at, and does the deeds. What of its host a
// runner takes up, its GPUs by id among it, is in its Record and in a label of the
// runner (package records): no launch is sent before that is written.
//
// Disconnected is not gone. Runners of a host that is away are Unknown and hold their
// slots, but for those that had ended; after Config.LostAfter they are told as ended, with the error
// "host-lost", and Remove of them fails: whoever takes them for ended must not
// end them by that should they be alive. On return they are told as they are. A host
// that was never there is Pending, and is not lost. How a runner is told, package sight
// says from values; what its host was given is cut out of all that it says (hush).
package fleet
