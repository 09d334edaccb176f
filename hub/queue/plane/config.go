package plane

import "time"

// Config says what a loop in this process asks for.
type Config struct {
	// Name of the provisioner; default "local". Its id, the owner of what it
	// launches, stays the same for as long as the data folder does.
	Name string
	// RunnerURL is where the runners reach this hub. Required, unless RunnerAt is set.
	RunnerURL string
	// RunnerAt, when it is set, is asked for it with each registration: where runners
	// reach a hub may change while it runs.
	RunnerAt func() string
	// ProviderKind names the backend to the runners; default "process".
	ProviderKind string
	// PollMaxDuration is how long a runner waits for a job; default 5 min.
	PollMaxDuration time.Duration
	// MaxLifetime of a runner, as it is told to the runner; default 1 h.
	MaxLifetime time.Duration
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "local"
	}
	if c.RunnerAt == nil {
		fixed := c.RunnerURL
		c.RunnerAt = func() string { return fixed }
	}
	if c.ProviderKind == "" {
		c.ProviderKind = "process"
	}
	if c.PollMaxDuration == 0 {
		c.PollMaxDuration = 5 * time.Minute
	}
	if c.MaxLifetime == 0 {
		c.MaxLifetime = time.Hour
	}
	return c
}
