// Package logs keeps the logs of jobs as files in the hub's data folder, by
// offset.
//
// The log of one attempt of a job is a folder of parts, each a file named by the
// offset of its first byte; a new part is begun every PartBytes. So where the
// log stands can be read off the names, nothing else is kept, and a crash leaves
// nothing to mend. What lies between two parts is missing: the middle of a log
// that grew over the limit, of which head and tail are kept, or what came while
// the disk was full. Readers are told.
//
// Appended bytes are in the file system's hands, and not synced: after a power
// cut the end of a log may be missing, and a sender that is ahead is told so by
// ErrGap.
package logs
