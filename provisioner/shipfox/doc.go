// Package shipfox is a provisioner.ControlPlane over the Shipfox API.
//
// It speaks the three generations of that API, tells them apart by itself, and
// notices when a service moves from one to the next:
//
//   - head: runner instances with single-use bootstrap tokens, told of before
//     the launch (attach), assigned to a reservation when they enrol;
//   - ert and pr: single-use registration tokens minted against a reservation;
//     "starting" is reported before the launch. pr differs in names and routes.
//
// Nothing here remembers a runner: what the service wants to find again is on
// the runner's labels. Unsafe calls are never repeated, or made safe first.
package shipfox
