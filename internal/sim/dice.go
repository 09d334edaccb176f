package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// dice throws for one seed. A throw depends on what it is for and on nothing
// else, so that it is the same in every run.
type dice uint64

// about returns the stream of throws for one thing.
func (d dice) about(what ...any) throws {
	h := fnv.New64a()
	fmt.Fprintln(h, what...)
	return throws{rand.New(rand.NewPCG(uint64(d), h.Sum64()))}
}

type throws struct{ *rand.Rand }

// chance is true once in 1/p throws.
func (t throws) chance(p float64) bool { return t.Float64() < p }

// between returns a time from lo to hi, short ones more often.
func (t throws) between(lo, hi time.Duration) time.Duration {
	f := t.Float64()
	return lo + time.Duration(f*f*float64(hi-lo))
}

// pick returns one of choices.
func pick[T any](t throws, choices ...T) T { return choices[t.IntN(len(choices))] }
