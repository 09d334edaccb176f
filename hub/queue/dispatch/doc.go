// Package dispatch is the queue as provisioners see it: who launches runners learns
// what for, and tells what became of them.
//
//   - Poll promises (reserves) waiting jobs to a provisioner that has room; which ones,
//     package grant decides. A promise holds a unit for each job, for a while.
//   - Mint and MintTokens make runners for the units of a promise, each with one
//     credential; Attach and Assign say which is which.
//   - Report stores what the provisioner says of them, and gives back what a runner held
//     that ended without having claimed its job. Reports only go up in rank: a late one
//     revives nothing.
//   - Reconcile, Facts, RunnerEnds and JobsOf tell what is known of runners; Unwant and
//     Retire say which of them will get no job.
//
// A unit is promised to one provisioner, and minted for once; a job is promised once at
// a time.
package dispatch
