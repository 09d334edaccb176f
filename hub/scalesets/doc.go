// Package scalesets keeps the hub's scale sets: templates with a size, and the hosts
// that may have their runners; and the credentials of image registries.
//
// A scale set is written as a Document, in JSON or YAML, with the rules and words of
// the template file; docs/scale-sets.md is the reference. Hosts are written by name
// and stored by id: a new host under an old name inherits nothing, and a removed
// host stays listed by its id until somebody takes it out.
//
// Apply makes the scale sets those of a file. It computes what would change first,
// and changes all of it or nothing; who edits in between makes it ErrStale. Export
// writes the file that Apply takes, and applying it changes nothing.
//
// The loop and the fleet take Templates and Placements; Changed says when to ask
// anew. A scale set that is deleted starts nothing more: its runners finish.
//
// Passwords are sealed (package vault) and told to nobody but the launch that pulls
// an image from the credential's own registry.
package scalesets
