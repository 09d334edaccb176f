package provisioner

import "time"

// State is what the loop holds, for people: what it advertises, what it has,
// why it waits. There is no secret in it.
type State struct {
	// At is when it was so.
	At time.Time `json:"at"`
	// Templates in the order in which they are advertised.
	Templates []TemplateState `json:"templates"`
	// Runners in the order of their ids.
	Runners []RunnerState `json:"runners"`
	// Grants of which not everything was minted yet.
	Grants []GrantState `json:"grants"`
	// Outbox is how many events wait to be accepted.
	Outbox int `json:"outbox"`
	// Plan is what would be done now.
	Plan []string `json:"plan"`
}

// TemplateState is what is known of a template.
type TemplateState struct {
	Key           string    `json:"key"`
	Free          int       `json:"free"`
	Live          int       `json:"live"`
	Idle          int       `json:"idle"`
	Max           int       `json:"max"`
	Target        *int      `json:"target,omitempty"`
	Failures      int       `json:"failures,omitempty"`
	FailureReason string    `json:"failure_reason,omitempty"`
	Until         time.Time `json:"backing_off_until,omitzero"`
	Preparing     bool      `json:"preparing,omitempty"`
	Ends          *Ends     `json:"ends,omitempty"`
}

// RunnerState is what is known of a runner.
type RunnerState struct {
	ID          string    `json:"id"`
	Template    string    `json:"template"`
	Reservation string    `json:"reservation,omitempty"`
	Phase       Phase     `json:"phase"`
	State       string    `json:"state"`
	Host        string    `json:"host,omitempty"`
	Born        time.Time `json:"born"`
	Registered  string    `json:"registered"`
	Busy        string    `json:"busy"`
	Job         string    `json:"job,omitempty"`
	Ending      string    `json:"ending,omitempty"`
	Told        string    `json:"told,omitempty"`
}

// GrantState is a grant.
type GrantState struct {
	Reservation string    `json:"reservation"`
	Labels      []string  `json:"labels"`
	Left        int       `json:"left"`
	Expires     time.Time `json:"expires,omitzero"`
}

// State tells what the loop holds now. Before Run, and after it, that is nothing.
func (l *Loop) State() State {
	answer := make(chan State, 1)
	if !l.running.Load() {
		return State{}
	}
	select {
	case l.queries <- func(ledger *ledger, now time.Time) { answer <- stateOf(ledger.snapshot(now)) }:
		return <-answer
	case <-l.ended:
		return State{}
	}
}

func stateOf(s Snapshot) State {
	out := State{At: s.Now, Outbox: s.Outbox, Templates: []TemplateState{}, Runners: []RunnerState{}, Grants: []GrantState{}}
	all := count(s)
	for _, key := range s.Order {
		t, c, lane := s.Index.Get(key), all[key], s.Lanes[key]
		ts := TemplateState{
			Key: key, Free: s.room(t, c), Live: c.live, Idle: c.idle, Max: t.MaxConcurrency,
			Failures: lane.Failures, FailureReason: lane.FailureReason, Until: lane.waits(s.Now), Preparing: lane.Preparing, Ends: lane.Ends,
		}
		if target, told := s.Targets[key]; told {
			ts.Target = &target.Count
		}
		out.Templates = append(out.Templates, ts)
	}
	for _, r := range s.Runners {
		rs := RunnerState{
			ID: r.ID, Template: r.Template, Reservation: r.Reservation, Phase: r.Phase, State: string(r.state()), Born: r.Born,
			Registered: r.Fact.Registered.String(), Busy: r.Fact.Busy.String(), Job: r.Fact.Job, Ending: r.Removing, Told: string(r.Told),
		}
		if r.Seen != nil {
			rs.Host = r.Seen.Host
		}
		out.Runners = append(out.Runners, rs)
	}
	for _, g := range s.Grants {
		out.Grants = append(out.Grants, GrantState{Reservation: g.Reservation, Labels: g.Labels, Left: g.Left, Expires: g.Expires})
	}
	for _, a := range Plan(s) {
		out.Plan = append(out.Plan, a.String())
	}
	return out
}
