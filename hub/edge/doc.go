// Package edge is what every request of a hub goes through first: a request id,
// the client's address, headers that keep browsers safe, the access log, and the
// limit on failed attempts to authenticate.
//
// X-Forwarded-For and X-Request-Id are believed from the configured proxies
// alone. No URL is ever made from a request: Host and the other X-Forwarded-*
// headers are read by nobody.
package edge
