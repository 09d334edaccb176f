package sim

import (
	"time"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// Setup says what a World is like. The zero value of each field but Templates
// is "none", or the calm choice.
type Setup struct {
	// Seed is what the dice are thrown from.
	Seed uint64
	// Trace is how many events a transcript holds; default 300.
	Trace int
	// Templates are the loop's.
	Templates []template.Template
	// Limits are the loop's, and what the checker holds it to; zero values are
	// the loop's defaults.
	Limits provisioner.Limits
	// Hosts is the room of each host of a fleet; none: one engine without bound.
	Hosts []int
	// Memory takes package memory for the engine, in place of the world's own.
	Memory bool
	// Levels names the templates whose demand is told as targets; the others'
	// jobs are granted.
	Levels []string
	// Announce, Facts, Retire and Warm are abilities of the control plane.
	Announce, Facts, Retire, Warm bool
	// Hints and Prepare are abilities of the backend; a fleet has Capacity.
	Hints, Prepare bool
	// Chatty makes the control plane answer polls at once, with nothing new.
	Chatty bool
	// Registrations is how long they live; default 5 min.
	Registrations time.Duration
	// Skew is how far the engine's clock is ahead of ours.
	Skew time.Duration
	// Engine and Plane are the odds of faults of either side's calls.
	Engine, Plane Odds
	// Habits are the odds of what runners do.
	Habits Habits
	// KillAt kills the first life at its call (KillAt+1)/2: odd ones after the
	// effect, even ones before. 0: never.
	KillAt int
	// Script, where it returns a Fate, decides in place of the odds: n counts
	// the calls of this op with this key from 0. Called under the world's lock.
	Script func(op, key string, n int) *Fate
	// Habit decides in place of Habits: n counts the template's runners from 0.
	Habit func(template string, n int) Habit
}

// Odds are chances per call, 0 to 1.
type Odds struct {
	// Refuse: a definite error, no effect.
	Refuse float64
	// Drop: an uncertain error, no effect ever.
	Drop float64
	// Lose: the effect, and an uncertain error.
	Lose float64
	// Late: an uncertain error, and the effect within five minutes.
	Late float64
	// Hang: no answer until the ctx ends, with the effect or without.
	Hang float64
	// Slow: up to 25 s before the effect or after it.
	Slow float64
	// Twist: an answer that is strange (a duplicate, a stranger, half of it).
	Twist float64
}

// Habits are chances per runner, 0 to 1; what is left is an honest runner.
type Habits struct{ Crash, Quit, Mute, Die, Outlive float64 }

// Habit is what a runner does.
type Habit string

// The habits of runners.
const (
	// Honest registers, takes a job, does it and exits with 0; or waits for a
	// job until its patience is over, and exits with 0.
	Honest Habit = "honest"
	// Crash exits with 1 before it registers.
	Crash Habit = "crash"
	// Quit exits with 0 before it registers.
	Quit Habit = "quit"
	// Mute never registers and never ends.
	Mute Habit = "mute"
	// Die is honest until the middle of its job, then ends with 137.
	Die Habit = "die"
	// Outlive does its job and does not end.
	Outlive Habit = "outlive"
)

// limits returns the loop's defaults where Limits has none: the checker needs
// the numbers. They are those that provisioner.Limits documents.
func (s Setup) limits() provisioner.Limits {
	l := s.Limits
	or := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	or(&l.PollWait, 30*time.Second)
	or(&l.KeepAlive, 30*time.Second)
	or(&l.LaunchDeadline, 2*time.Minute)
	or(&l.RegistrationDeadline, 150*time.Second)
	or(&l.MaxLifetime, time.Hour+time.Minute)
	or(&l.FailedRetention, time.Hour)
	or(&l.IdleTimeout, time.Minute)
	or(&l.ReservationLifetime, 2*time.Minute)
	if l.FailedRetentionCount == 0 {
		l.FailedRetentionCount = 20
	}
	return l
}

func (s Setup) template(key string) (template.Template, bool) {
	for _, t := range s.Templates {
		if t.Key == key {
			return t, true
		}
	}
	return template.Template{}, false
}
