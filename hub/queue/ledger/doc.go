// Package ledger is the floor of the queue: the tables of jobs, promises, runners and
// leases, and the moves between their states.
//
// A move is one step of a transaction (Tx). It leaves the tables agreeing with each
// other, writes the job's history, and notes who is to be woken, and what the lease
// book is to learn, once it is on disk. What a caller wants to happen all at once, or
// not at all, is so many moves in one Write: a runner that ends gives back its unit,
// its job and perhaps its lease, and the job goes to the next runner.
//
// The ledger decides nothing but the one thing that every move leads to: a job that is
// free goes to the runner that waits for one (AdoptIdle), and a unit that a job leaves
// behind goes to the next job (Vacated). When to move is for the rooms above: jobs,
// dispatch and lease. There is no room for each table, since no move is of one table
// alone.
//
// What must hold of the tables at every moment is written down in the random histories
// of package queue (random_test.go), which hold them to it.
package ledger
