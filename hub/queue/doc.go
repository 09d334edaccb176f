// Package queue is the hub's own job queue: what waits, who is to run it, and
// what became of it, in the SQLite file of package store.
//
// A job goes queued → reserved → launched → running → one of the final states:
//
//   - Poll promises (reserves) waiting jobs to a provisioner that has room; which
//     ones, package grant decides;
//   - the provisioner mints runners for the promise (Mint, MintTokens) and
//     launches them (Attach, Report); a promise that expires, and a runner that
//     ends without having claimed, put the job back;
//   - the runner introduces itself (Exchange, Enrol, Register) and claims one
//     job (Claim). From then on the job hangs on the runner's lease alone: Renew
//     keeps it, Finish ends it with a result, and a lease that is not renewed
//     ends as Run decides, LeaseTTL + LeaseGrace after the last renewal.
//
// The methods are the domain; the HTTP of the Shipfox API is package shipfoxapi
// beside this one, and ControlPlane is the same domain for a loop in this process.
// Subscribe tells when to look again: nothing here polls.
//
// It is a large package since all of it is steps of one transaction (tx) over one
// schema: a runner that ends gives back its unit, its job, and perhaps its lease,
// and the job goes to the next runner, all at once or not at all.
package queue
