// Package api serves the hub's own API for people and programs: jobs, their
// logs, and tokens, under /api/v1, with OpenAPI at /api/v1/openapi.json. Errors
// are problem documents (RFC 9457). docs/jobs-api.md tells it to users.
//
// Everything but the OpenAPI document needs an admin token.
package api
