// Package policy is what the owner of a host allows a hub to start there:
// agent.yaml, which the hub can't change.
//
// A Policy judges the create request as it goes to the engine, after all
// defaults (docker.Request). It is an allow-list in two steps: a field that is set and
// that the package does not know refuses the launch, whichever it is (known.go);
// what it knows is judged by its value (the other files, one subject each). A
// version of the engine's API with a new field can therefore not slip through.
//
// docs/agent-policy.md describes the file, the defaults, and what is not claimed.
package policy
