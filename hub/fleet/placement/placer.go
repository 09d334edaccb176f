package placement

import "time"

// Config is what a Placer is made from. Every field is needed; the defaults are those
// of fleet.Config.
type Config struct {
	// OvercommitCPU and OvercommitMemory are how much of a host's CPUs and memory its
	// runners may have been launched with, all together; 1: no more than there is.
	OvercommitCPU, OvercommitMemory float64
	// IsolatedRuntimes are the runtimes that isolate a runner from its host, the best
	// first.
	IsolatedRuntimes []string
	// SlowAfter is how long a launch may go unanswered until its host is passed over
	// while others have room.
	SlowAfter time.Duration
	// RetryMin and RetryMax bound the growing pause of a kind of runner on a host where
	// its launches fail.
	RetryMin, RetryMax time.Duration
}

// Placer decides where runners go. It remembers the rules, what was asked for, and
// whose turn it is. One goroutine at a time may use it and its Hosts.
type Placer struct {
	Config
	rules   map[string]*rule // by template; nil: anything anywhere
	asks    map[string]*Ask  // by template, the newest
	level   uint64           // the most turns that a host has had, see Choose
	turns   uint64           // how often one was
	usual   time.Duration    // that a launch takes until it is answered; 0: not known
	scratch []*Host          // Choose's
}

// New makes a Placer without rules.
func New(config Config) *Placer { return &Placer{Config: config, asks: map[string]*Ask{}} }

// mostKinds bounds what is remembered of kinds of runners, here and of each host.
const mostKinds = 1000
