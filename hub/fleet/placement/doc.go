// Package placement decides which host gets a runner: who may have one, how much room
// there is, whose turn it is, how long a host waits where launches fail; and it says
// why, in words.
//
// It reads no clock, holds no lock and asks nobody. A Placer is given Hosts, each of
// which says how one host is now, an Ask, which says what a launch wants of a host, and
// the time. Its owner (package fleet) keeps the Hosts true, and lets one goroutine in at
// a time.
//
//	judge.go    may this host get such a runner now, and how many: everything asks it
//	choose.go   whose turn it is among those that may
//	failure.go  what is remembered of launches that failed, or found no room
//	explain.go  the same in words, for people
//
// docs/agent-protocol.md has the rules in words.
package placement
