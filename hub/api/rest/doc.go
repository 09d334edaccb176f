// Package rest is what the routes of the hub's API stand on: it has none itself.
//
// Register is the one way to a route; it takes the least role that may use it. A
// request then goes through, in this order: an id (caller.go), the token and its role
// (auth.go), and for what changes something the audit log, which holds the answer
// back until its entry is stored (audited.go). A body of JSON is taken as it is, or
// refused (exact.go). A handler returns a value or an error that is a problem. Beside
// that there are ETags and If-Match (etag.go), lists and their pages (list.go, cursor.go),
// a bound on what one token keeps open (streams.go), and Adopt, which puts the routes of
// other handlers under the same rules (adopt.go).
package rest
