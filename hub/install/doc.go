// Package install serves what a new host needs: the script that installs the
// agent and enrols the host, the agent itself with its manifest, and the public
// key that its updates are checked with.
//
//	GET /install/<enrolment>.sh                     the script
//	GET /install/slipway-agent-<os>-<arch>          the program
//	GET /install/slipway-agent-<os>-<arch>.manifest what was signed of it
//	GET /install/update-key.pub                     the key
//
// Everything that ends in .sh is answered with a script and status 200, be the
// enrolment good or not: its reader is "curl -fsSL … | sudo bash", where curl
// turns an error status into no input, and a shell without input succeeds. So
// it is the script that tells what is wrong, and exits with 1.
//
// Fetching a script consumes nothing. Whatever goes into one is checked, quoted,
// and comes from the hub's own configuration: no header of a request does. The
// enrolment is in no log line of ours and in no argument of the script's commands.
package install
