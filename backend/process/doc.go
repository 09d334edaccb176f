// Package process is a backend.Backend that runs each runner as a process of
// this machine: for trusted jobs, for trying out, and where no engine is.
//
// It isolates nothing. A job runs as the same user as the program that launched
// it, sees the same files, network and processes, and takes as much of the
// machine as it likes. Use package docker for jobs that you would not run in
// your own shell.
//
// Each runner is watched by a supervisor: this program itself, started anew in
// a session of its own. It outlives the program that launched it, writes down
// how the runner ends, and ends what the runner leaves behind. So a program that
// uses this package calls Main before anything else:
//
//	func main() {
//		process.Main() // returns at once, except in a supervisor
//		…
//	}
//
// New refuses to work in a program that does not. Tests call it in TestMain.
//
// All that is known of runners is in Config.Dir and nowhere else: a Backend
// opened later on the same folder, by this program or by the next, adopts what
// runs. Files hold no environment and no other secret. Who holds the lock on
// locks/<id> looks after the runner: first the Backend that launches it, then,
// without a gap, its supervisor. A lock that is free means that there is none,
// however that came about.
package process
