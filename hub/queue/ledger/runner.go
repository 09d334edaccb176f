package ledger

import (
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// Runner is a row of the runners table: one runner from its mint on.
type Runner struct {
	// ID is the queue's own.
	ID string
	// Provisioner launches it, by the API of Generation.
	Provisioner string
	Generation  Generation // see Provisioner
	// ProviderID is its id in the provisioner's hands; empty until it is attached.
	ProviderID string
	// Template is the provisioner's key; may be empty.
	Template string
	// Labels are canonical: those that it enrolled with, once it has.
	Labels []string
	// State is what its provisioner said last.
	State RunnerState
	// ReportedAt is by the provisioner's clock, never ahead of ours.
	ReportedAt time.Time
	// Intended is the reservation it was minted for, Reservation the one that it
	// is assigned to, Session the session that it registered; empty: none.
	Intended, Reservation, Session string
	// Enrolled: it introduced itself. Retired: it will never get a job.
	Enrolled, Retired bool
	// Intent is why it should end; empty: it should not.
	Intent string
}

// Reasons of terminate intents, as the Shipfox API names them. Others are those of
// operators.
const (
	IntentCancelled  = "job-cancelled"
	IntentActivation = "activation-timeout"
)

// Ended says whether its provisioner reported its end.
func (r Runner) Ended() bool { return r.State.Terminal() }

// Ending is why an operator wants the runner to end; empty: none does.
func (r Runner) Ending() string {
	if r.Intent == IntentCancelled || r.Intent == IntentActivation {
		return ""
	}
	return r.Intent
}

// RunnerState is what a provisioner says of a runner. Stored and sent: add at the
// end only.
type RunnerState string

// The states of runners, in the order of their rank: reports only go up.
const (
	RunnerStarting   RunnerState = "starting"
	RunnerRunning    RunnerState = "running"
	RunnerStopping   RunnerState = "stopping"
	RunnerStopped    RunnerState = "stopped"
	RunnerFailed     RunnerState = "failed"
	RunnerTerminated RunnerState = "terminated"
)

var rank = map[RunnerState]int{
	RunnerStarting: 1, RunnerRunning: 2, RunnerStopping: 3, RunnerStopped: 4, RunnerFailed: 5, RunnerTerminated: 6,
}

// Terminal says whether the runner has ended.
func (s RunnerState) Terminal() bool { return rank[s] >= rank[RunnerStopped] }

// Valid says whether s is one of the states.
func (s RunnerState) Valid() bool { return rank[s] > 0 }

// Supersedes says whether a report may change what is stored: up the rank, or
// the same again if it is not older. So a late "running" revives nothing.
func Supersedes(next RunnerState, at time.Time, now RunnerState, stored time.Time) bool {
	if rank[next] != rank[now] {
		return rank[next] > rank[now]
	}
	return !at.Before(stored)
}

const runnerQuery = `SELECT r.id, r.provisioner_id, p.generation, coalesce(r.provider_runner_id, ''), r.template, r.label_set, r.state,
	r.reported_at, coalesce(r.intended_id, ''), coalesce(r.reservation_id, ''), coalesce(r.session_id, ''),
	r.enrolled_at IS NOT NULL, r.retired_at IS NOT NULL, r.intent
	FROM runners r JOIN provisioners p ON p.id = r.provisioner_id WHERE `

func scanRunner(row store.Row) (r Runner, err error) {
	var (
		labels   string
		reported *int64
	)
	err = row.Scan(&r.ID, &r.Provisioner, &r.Generation, &r.ProviderID, &r.Template, &labels, &r.State,
		&reported, &r.Intended, &r.Reservation, &r.Session, &r.Enrolled, &r.Retired, &r.Intent)
	r.Labels, r.ReportedAt = SplitLabels(labels), FromNullable(reported)
	return r, err
}

// Runner finds a runner by its id.
func (t *Tx) Runner(id string) (Runner, bool, error) {
	return store.One(t.Tx, scanRunner, runnerQuery+`r.id = ?`, id)
}

// RunnerOf finds a runner by its id in the provisioner's hands.
func (t *Tx) RunnerOf(p Provisioner, providerID string) (Runner, bool, error) {
	return store.One(t.Tx, scanRunner, runnerQuery+`r.provisioner_id = ? AND r.provider_runner_id = ?`, p.ID, providerID)
}

// RunnersWhere finds runners; the table is r, that of their provisioners p.
func (t *Tx) RunnersWhere(where string, args ...any) ([]Runner, error) {
	return store.All(t.Tx, scanRunner, runnerQuery+where, args...)
}

// AddRunner stores a new runner of p and returns its id. ProviderID, Intended and
// Reservation may be empty.
func (t *Tx) AddRunner(p Provisioner, r Runner) (string, error) {
	id, now := NewID(), Millis(t.Now)
	_, err := t.Exec(`INSERT INTO runners (id, provisioner_id, provider_runner_id, template, label_set, state, seen_at, intended_id, reservation_id, created_at)
		VALUES (?, ?, nullif(?, ''), ?, ?, ?, ?, nullif(?, ''), nullif(?, ''), ?)`,
		id, p.ID, r.ProviderID, r.Template, JoinLabels(r.Labels), r.State, now, r.Intended, r.Reservation, now)
	return id, err
}

// Unwant makes sure that a runner gets no job, and asks for its end. The first
// reason counts.
func (t *Tx) Unwant(r Runner, reason string) error {
	_, err := t.Exec(`UPDATE runners SET retired_at = coalesce(retired_at, ?), intent = ? WHERE id = ? AND intent = ''`,
		Millis(t.Now), reason, r.ID)
	t.Wake(TopicProvisioner(r.Provisioner), TopicRunner(r.ID))
	return err
}

// Attach tells a runner's id in the provisioner's hands; see dispatch.Attach.
func (t *Tx) Attach(p Provisioner, id, providerID string) (attached bool, err error) {
	r, found, err := t.Runner(id)
	if err != nil || !found || r.Provisioner != p.ID || r.Ended() || r.ProviderID != "" {
		return false, err
	}
	if _, taken, err := t.RunnerOf(p, providerID); err != nil || taken {
		if taken {
			err = ErrRunnerConflict
		}
		return false, err
	}
	_, err = t.Exec(`UPDATE runners SET provider_runner_id = ?, seen_at = ? WHERE id = ?`, providerID, Millis(t.Now), id)
	return err == nil, err
}
