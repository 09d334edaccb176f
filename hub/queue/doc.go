// Package queue is the hub's own job queue: what waits, who is to run it, and
// what became of it, in the SQLite file of package store.
//
// A job goes queued → reserved → launched → running → one of the final states:
// it is promised to a provisioner that has room, which launches a runner for it,
// which claims it; from then on it hangs on the runner's lease. A promise that
// expires, and a runner that ends without having claimed, put the job back.
//
// Queue is the door to its rooms, one for each of those who come to it:
//
//   - jobs: who has something to run submits it, follows it, cancels it;
//   - dispatch: provisioners poll, mint, and report what became of their runners
//     (package grant decides who gets what);
//   - lease: runners introduce themselves, claim one job, and keep it by renewing
//     their lease (package leasebook);
//   - access: the bearer tokens of all of them, and the roles of people.
//
// Beneath the rooms is the ledger: the tables, and the moves between their states.
// Each thing that happens is one transaction of such moves, so it happens in all
// rooms at once or not at all. Package topic tells when to look again: nothing
// here polls.
//
// The HTTP of the Shipfox API is package shipfoxapi beside this one, and package
// plane is the same domain for a loop in this process. The names of the rooms that
// callers need are names of this package too.
package queue
