// Package api serves the hub's own API for people and programs: hosts, scale sets,
// runners, jobs, their logs, events, the audit log and tokens, under /api/v1, with
// OpenAPI at /api/v1/openapi.json. Errors are problem documents (RFC 9457).
// docs/api.md tells it to users.
//
// Here are the routes, a file for each kind of object, and how the errors of the
// registries are answered (faults.go). What the routes stand on is in hub/api/rest:
// tokens and roles, the audit log, problems, ETags, pages, streams. Why a job
// waits is found in hub/api/waiting, and hub/api/problem writes problem documents,
// for other handlers of the hub too.
//
// Everything but the OpenAPI document needs a token with a role, an API token or an
// admin token. A route is registered with the least role that may use it, and can't
// be without one; what is missing is refused. Requests that change something are
// held until their audit entry is stored.
//
// The API decides nothing about hosts and scale sets: it turns requests into calls
// of the registries, and their errors into answers.
package api
