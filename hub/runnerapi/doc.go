// Package runnerapi serves the routes of docs/runner-api.md: what a runner that
// holds a lease asks of the hub, and sends to it. Its errors have the envelope of
// the Shipfox API.
package runnerapi
