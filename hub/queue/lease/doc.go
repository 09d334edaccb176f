// Package lease is the queue as runners see it: how one introduces itself, gets a job,
// and keeps it.
//
// A runner exchanges its bootstrap token for a control session (Exchange), introduces
// itself (Enrol), waits until a job is meant for it (Assignment), and registers
// (Register); or it registers at once, with a registration token. Then it claims a job
// (Claim). From there on the job hangs on the runner's lease alone:
//
//   - Renew keeps it; it costs no look at the disk (package leasebook);
//   - Finish ends it with a result, the first of which counts;
//   - one that is not renewed ends TTL + Grace after its last renewal (EndLapsed), when
//     its runner has ended by its own clock, and Revoke ends it at once. What becomes of
//     the job is decided by what is known of its runner.
//
// A job has one live lease at a time, and what comes with one that has ended changes
// nothing: whatever is stored for it is stored in one write with that check.
package lease
