// Package engine is what runs runners on an agent's host: Docker's engine, or
// processes of the agent's user. Either way it is one backend.Backend under the rules
// of the host's policy, which also tells of itself: the engine's facts, whether it can
// be seen, how its launches went, and where its disk is.
package engine
