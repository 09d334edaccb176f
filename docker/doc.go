// Package docker is the Backend over the Docker Engine API.
//
// A runner is one container, named after its id and labelled with its owner, its
// id and Spec.Labels (see Schema). Containers are the only state: a Backend
// remembers nothing that a new one would miss, and an engine may be shared with
// other owners and with containers of other programs, which are never touched.
//
// Defaults isolate: a network per owner without traffic between containers,
// no-new-privileges, at most 4096 processes, logs bounded on disk, no restarts.
//
// The guide for operators is docs/docker-backend.md.
package docker
