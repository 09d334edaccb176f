// Package storage watches over the room in the hub's data folder.
//
// A Guard says when the disk is too full for anything new, and keeps a reserve
// file that it gives up when the disk is full for good, so that results, leases
// and cancels can still be stored. A Keeper deletes what is older, or takes more
// room, than the retention allows.
package storage
