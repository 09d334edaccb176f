// Package runner is the one-job runner: it introduces itself to a Slipway hub,
// claims one job, runs it, streams its log, reports its result and ends.
//
// It owns the process that it runs in: it becomes the subreaper of its job's
// processes and ends all of them, those that left the process group too, so one
// process runs one runner. Main is the whole program, for a main package or a
// hidden subcommand of a bigger one.
//
// On Linux the program first executes itself again, without the credential in
// its environment (it is handed over in a pipe), and makes its memory unreadable
// to other processes of the same user. So a job finds no credential in
// /proc/<pid>/environ, nor in /proc/<pid>/mem. A job that has CAP_SYS_PTRACE
// (the machine's root) can read it all the same; a single-use credential is
// spent by then.
//
// Memory is bounded: at most a mebibyte of log waits to be sent. While the hub
// takes no log the job's writes wait, for at most a minute; then the log is cut,
// and says so, and the job goes on.
package runner
