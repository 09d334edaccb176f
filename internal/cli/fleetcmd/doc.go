// Package fleetcmd is the commands about a hub's compute: hosts and their
// enrolments, scale sets, registry credentials, and runners.
package fleetcmd
