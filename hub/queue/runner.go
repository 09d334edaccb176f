package queue

import (
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// runner is a row of the runners table: one runner from its mint on.
type runner struct {
	id          string
	provisioner string
	generation  Generation
	// providerID is its id in the provisioner's hands; empty until it is attached.
	providerID string
	template   string
	labels     []string
	state      RunnerState
	reportedAt time.Time
	// intended is the reservation it was minted for, reservation the one that it
	// is assigned to.
	intended, reservation string
	session               string
	enrolled, retired     bool
	intent                string
}

func (r runner) ended() bool { return r.state.Terminal() }

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

// supersedes says whether a report may change what is stored: up the rank, or
// the same again if it is not older. So a late "running" revives nothing.
func supersedes(next RunnerState, at time.Time, now RunnerState, stored time.Time) bool {
	if rank[next] != rank[now] {
		return rank[next] > rank[now]
	}
	return !at.Before(stored)
}

const runnerQuery = `SELECT r.id, r.provisioner_id, p.generation, coalesce(r.provider_runner_id, ''), r.template, r.label_set, r.state,
	r.reported_at, coalesce(r.intended_id, ''), coalesce(r.reservation_id, ''), coalesce(r.session_id, ''),
	r.enrolled_at IS NOT NULL, r.retired_at IS NOT NULL, r.intent
	FROM runners r JOIN provisioners p ON p.id = r.provisioner_id WHERE `

func scanRunner(row store.Row) (r runner, err error) {
	var (
		labels   string
		reported *int64
	)
	err = row.Scan(&r.id, &r.provisioner, &r.generation, &r.providerID, &r.template, &labels, &r.state,
		&reported, &r.intended, &r.reservation, &r.session, &r.enrolled, &r.retired, &r.intent)
	r.labels, r.reportedAt = splitLabels(labels), fromNullable(reported)
	return r, err
}

func (t *tx) runner(id string) (runner, bool, error) {
	return store.One(t.Tx, scanRunner, runnerQuery+`r.id = ?`, id)
}

func (t *tx) runnerOf(p Provisioner, providerID string) (runner, bool, error) {
	return store.One(t.Tx, scanRunner, runnerQuery+`r.provisioner_id = ? AND r.provider_runner_id = ?`, p.ID, providerID)
}

// addRunner stores a new runner. providerID and intended may be empty.
func (t *tx) addRunner(p Provisioner, r runner) (string, error) {
	id, now := newID(), millis(t.now)
	_, err := t.Exec(`INSERT INTO runners (id, provisioner_id, provider_runner_id, template, label_set, state, seen_at, intended_id, reservation_id, created_at)
		VALUES (?, ?, nullif(?, ''), ?, ?, ?, ?, nullif(?, ''), nullif(?, ''), ?)`,
		id, p.ID, r.providerID, r.template, joinLabels(r.labels), r.state, now, r.intended, r.reservation, now)
	return id, err
}
