// Package hosts is the registry of a hub's hosts: their rows, how a machine
// becomes one, what its agent authenticates with, and what is done to a host as a
// whole. What runs on them now is package fleet's; the registry tells it what is
// set (Bind), says whose credential is whose (Authenticate), and keeps its records
// (Records).
//
// A host is made with an invitation: a token of one use and a line to run on the
// machine. The agent there makes its credential itself and sends the digest of it
// with that token (Enrol), which is consumed in the same write. The same agent may
// repeat that while the invitation lives, so that a lost answer locks nobody out;
// nobody else can. A host that is invited again (Reenrol) keeps its identity.
//
// Of tokens the database holds digests alone. URLs in lines come from
// Config.PublicURL and nowhere else.
//
// A host's name is unique among those that are not removed; a new host under an old
// name has a new id. A selector is labels, and matches hosts that have all of them.
//
// Removal is for ever: the id and the credentials of a removed host stay known as
// such and are refused.
//
// The registry is the door to its rooms: rollout (updates of agents), seen (what is
// known of hosts between two writes), records (what a fleet keeps), form (what inputs
// may be) and enrolapi (the HTTP of Enrol). What it writes is rows of the tables of
// hosts; what is done to a host is one transaction.
package hosts
