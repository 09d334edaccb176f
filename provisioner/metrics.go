package provisioner

import "time"

// Metrics gets the loop's measurements. Its methods are called by the planner:
// they must return at once. Labels are few on purpose: a template's key, a
// state, a reason word, never a runner or a job.
type Metrics interface {
	// Launched counts a launch that ended: reason is empty for a good one, else
	// a word such as invalid, exhausted, unavailable, refused, uncertain, prepare
	// or mint. took is from the mint to the answer.
	Launched(template, reason string, took time.Duration)
	// Registered measures from the runner's birth until the control plane knew it.
	Registered(template string, took time.Duration)
	// Ended counts runners that ended: state is stopped, failed or terminated,
	// reason a word such as exit-code, max-lifetime or job-cancelled.
	Ended(template, state, reason string)
	// Measured tells the levels, after every pass in which they changed.
	Measured(Levels)
}

// Levels are what can be read off at a moment.
type Levels struct {
	// Runners counts by template and by backend.State, as text.
	Runners map[string]map[string]int
	// Backoff is how many failures in a row a template has, for those with any.
	Backoff map[string]int
	// LastPoll and LastList are when the last good one ended; zero: never.
	LastPoll, LastList time.Time
	// Outbox is how many events wait to be reported.
	Outbox int
}

type discard struct{}

func (discard) Launched(string, string, time.Duration) {}
func (discard) Registered(string, time.Duration)       {}
func (discard) Ended(string, string, string)           {}
func (discard) Measured(Levels)                        {}
