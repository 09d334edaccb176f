// Package rollout has the agents of hosts become another version, a few first.
//
// An order of several hosts is a rollout: the canaries go together, the others
// follow one at a time when these are back with the version, and one that fails
// stops those that were not told yet. What is next is decided purely (plan); the
// orders are rows of the hub's database, so a rollout goes on after a restart.
// Which hosts there are, and who may order, is package hosts'.
package rollout
