package hosts

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/store"
)

// Host is one host as it is set and as it was last seen. Zero times: not yet, or
// none. How it does now is fleet.HostState's.
type Host struct {
	// ID is never given to another host.
	ID string
	// Name is of one host at a time, and may change.
	Name   string
	Labels map[string]string
	// MaxRunners is its cap; 0: its CPUs.
	MaxRunners int
	// Cordoned: it gets no new runners.
	Cordoned bool
	// Draining: it is cordoned, until nothing runs there. DrainDeadline is when what
	// still runs is ended; zero: never.
	Draining      bool
	DrainDeadline time.Time
	// Isolated: it was asked to have an isolated runtime.
	Isolated bool
	// Local: its agent was started beside the hub.
	Local bool
	// Agent and Engine are the pair that the host is: its agent's id, which only an
	// enrolment changes, and its engine's. Empty: not known yet.
	Agent, Engine string
	// AgentVersion and Facts are as its agent last told them.
	AgentVersion string
	Facts        fleet.Facts
	// UpdateTo is the version that its agent is to become; empty: none.
	// UpdateProblem is why the last order to become another did not come true.
	UpdateTo, UpdateProblem string
	// Enrolled: an agent has its credential.
	Enrolled bool
	// Version counts the changes of what can be set.
	Version int64

	CreatedAt, LastSeenAt time.Time
}

const hostQuery = `SELECT h.id, h.name, h.labels, h.max_runners, h.cordoned, h.draining, h.drain_until, h.isolated, h.local,
	h.agent, h.engine, h.agent_version, h.facts, h.version, h.created_at, h.seen_at,
	EXISTS (SELECT 1 FROM host_credentials c WHERE c.host_id = h.id AND c.next <> 2),
	CASE WHEN u.state IN ('waiting', 'asked') THEN u.version ELSE '' END, coalesce(u.problem, '')
	FROM hosts h LEFT JOIN host_updates u ON u.host_id = h.id WHERE h.removed_at IS NULL AND `

func scanHost(row store.Row) (h Host, err error) {
	var (
		labels, facts string
		until, seen   *int64
		created       int64
	)
	err = row.Scan(&h.ID, &h.Name, &labels, &h.MaxRunners, &h.Cordoned, &h.Draining, &until, &h.Isolated, &h.Local,
		&h.Agent, &h.Engine, &h.AgentVersion, &facts, &h.Version, &created, &seen, &h.Enrolled, &h.UpdateTo, &h.UpdateProblem)
	if err != nil {
		return h, err
	}
	h.DrainDeadline, h.LastSeenAt, h.CreatedAt = fromNullable(until), fromNullable(seen), fromMillis(created)
	if err := json.Unmarshal([]byte(labels), &h.Labels); err != nil {
		return h, err
	}
	return h, json.Unmarshal([]byte(facts), &h.Facts)
}

// find finds a host that is not removed, by its name or its id.
func (t *tx) find(nameOrID string) (Host, error) {
	where := `h.name = ?`
	if _, err := uuid.Parse(nameOrID); err == nil {
		where = `h.id = ?`
	}
	h, found, err := store.One(t.Tx, scanHost, hostQuery+where, nameOrID)
	if err == nil && !found {
		err = ErrNotFound
	}
	return h, err
}

// setting is what the fleet is told of a host.
func (h Host) setting() fleet.Host {
	return fleet.Host{
		ID: h.ID, Name: h.Name, MaxRunners: h.MaxRunners, Cordoned: h.Cordoned || h.Draining,
		Labels: h.Labels, Agent: h.Agent, Engine: h.Engine, LastSeen: h.LastSeenAt, LastFacts: h.Facts,
	}
}

// object is how events name a host.
func (h Host) object() string { return "host/" + h.Name }

// encoded is labels as they are stored.
func encoded(labels map[string]string) (string, error) {
	if labels == nil {
		labels = map[string]string{}
	}
	b, err := json.Marshal(labels)
	return string(b), err
}

// Times are stored in milliseconds; NULL is the zero time.
func millis(t time.Time) int64 { return t.UnixMilli() }

func nullable(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := millis(t)
	return &ms
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func fromNullable(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return fromMillis(*ms)
}
