// Package sim is the adversary of the provisioner's loop: a world in which
// everything that can go wrong does, and a checker that knows the truth.
//
// A World holds one engine (or a fleet of hosts), one control plane with its
// jobs, and one life of the loop after another. Each life gets a Backend and a
// ControlPlane of its own; killing a life makes both dead at once, as a power
// cut does: calls in flight get no answer, and what they asked for may still
// happen. Every call goes through World.call, where its Fate is drawn: slow,
// refused, lost before or after the effect, late, hanging. The invariants of
// the design are checked at the call, at the effect and at the answer, under
// the world's one lock; what breaks one is recorded with the last events.
//
// Worlds live in testing/synctest bubbles: time is fake, and a millisecond of
// it passes only when every goroutine waits. So "known for a millisecond" means
// "the loop has had every chance to act on it", and the checks need no slack.
//
// The order of goroutines is not repeatable, so the dice are not one stream:
// each throw is a hash of the seed, the kind of call, its object and its number.
// A seed run again meets the same faults.
//
// The tests run 200 seeds; a soak is
//
//	SLIPWAY_SEEDS=5000 go test -timeout 1h -run TestSeeds ./internal/sim
//
// The package is larger than one should be, since all of it shares one lock: a
// check at the instant of an effect is worth more than ten afterwards.
package sim
