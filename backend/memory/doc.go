// Package memory is a Backend without an engine: runners are entries in a
// table, and what they do is computed from the time. It is for tests and
// simulations of whatever stands on a backend.
//
// An Engine is what several owners share; Engine.Backend opens it for one of
// them. Runners follow the Program that Config.Behaviour gives them, and what
// goes wrong is said by Config.Fault, call by call: slow, failing and hanging
// calls, lost answers, launches that happen after their answer was lost, and
// runners left half made. Hosts can go offline and return.
//
// No goroutine is started and nothing but package time is used, so an Engine
// made inside a testing/synctest bubble lives by the bubble's clock. What is due
// (a runner's end, a late launch) is applied, in the order of time, before the
// next call looks.
package memory
