// Package events keeps what happened on the hub: a durable log of events of
// hosts, scale sets, runners and tokens, and the audit log of who asked for what.
//
// The events of jobs are the queue's, in its own table, and are written once.
// Both tables take their numbers from one sequence, so that readers see all
// events in one order, and go on where they were with one number.
package events
