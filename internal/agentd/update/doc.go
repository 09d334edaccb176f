// Package update replaces the agent's program by another version of it, on its
// hub's word, and goes back when that fails.
//
// The program that was installed is never written to. Versions that were fetched
// lie in the data folder, and update.json there says which one is active. Every
// start begins with the installed program, which executes the active one: as the
// same process, so that neither systemd nor a container notices. So it works where
// the program's own folder can't be written to, in a container whose data folder
// is a volume, and with an active version that does not start. Who installs another
// program has the last word: what was fetched over the former one is forgotten.
//
// A version is pending until the hub has welcomed it once. Two minutes without
// that, or three starts, and the one before is active again.
package update
