package rollout

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/hub/store"
)

// order is one host's order to become another version, as it is stored.
type order struct {
	host, name string
	rollout    string
	canary     bool
	version    string
	state      orderState
	problem    string
	asked      time.Time // the last time
	again      int       // how often, but for the first time; not stored
}

// orderState is stored: add at the end only.
type orderState string

const (
	orderWaiting orderState = "waiting" // for its turn, or for its host
	orderAsked   orderState = "asked"   // its agent was told
	orderFailed  orderState = "failed"
	orderStopped orderState = "stopped" // since another failed
	orderDone    orderState = "done"    // never stored: the row is deleted
)

func (o order) open() bool { return o.state == orderWaiting || o.state == orderAsked }

// sayings are of the states that are told.
var sayings = map[orderState]string{
	orderAsked: "its agent was told to update", orderDone: "its agent was updated",
	orderFailed: "the update of its agent failed", orderStopped: "the update of its agent was stopped",
}

// Host is one that is to be updated.
type Host struct {
	ID, Name string
	// Version is the one that it has, as far as is known.
	Version string
	// Forbids is why it takes no updates from the hub; empty: it takes them.
	Forbids string
}

// Told is what is to be told of a host once a transaction is on disk.
type Told struct {
	Host       Host
	Kind, Text string
}

// Order orders hosts to become a version: the first so many are the canaries. Those
// that have it are passed over, those that take none are stopped at once, and what was
// ordered of them before is over.
func Order(t *store.Tx, version string, canaries int, hosts []Host) (told []Told, err error) {
	rollout, place := uuid.Must(uuid.NewV7()).String(), 0
	for _, h := range hosts {
		if err := Leave(t, h.ID, h.Name, "it got another order"); err != nil {
			return nil, err
		}
		if Same(h.Version, version) {
			continue
		}
		o := order{host: h.ID, rollout: rollout, canary: place < canaries, version: version, state: orderWaiting}
		said := Told{h, "host-update-ordered", "its agent is to become " + version}
		if h.Forbids != "" { // it would only refuse, and stop the others by that
			o.canary, o.state, o.problem = false, orderStopped, version+": "+h.Forbids
			said = Told{h, "host-update-stopped", sayings[orderStopped] + ": " + o.problem}
		}
		_, err := t.Exec(`INSERT INTO host_updates (host_id, rollout, place, canary, version, state, problem) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			o.host, o.rollout, place, o.canary, o.version, o.state, o.problem)
		if err != nil {
			return nil, err
		}
		if told = append(told, said); o.open() {
			place++
		}
	}
	return told, nil
}

// Leave deletes a host's order. Where the others wait for it, they are stopped:
// nothing is known of the version then.
func Leave(t *store.Tx, host, name, why string) error {
	o, found, err := store.One(t, scanOrder, orderQuery+`u.host_id = ?`, host)
	if err != nil || !found {
		return err
	}
	if _, err := t.Exec(`DELETE FROM host_updates WHERE host_id = ?`, host); err != nil {
		return err
	}
	if !o.canary || !o.open() {
		return nil
	}
	_, err = t.Exec(`UPDATE host_updates SET state = 'stopped', problem = ? WHERE rollout = ? AND state = 'waiting'`,
		fmt.Sprintf("%s: stopped, since %s was to go first: %s", o.version, name, why), o.rollout)
	return err
}

const orderQuery = `SELECT u.host_id, h.name, u.rollout, u.canary, u.version, u.state, u.problem, u.asked_at
	FROM host_updates u JOIN hosts h ON h.id = u.host_id WHERE `

func scanOrder(row store.Row) (o order, err error) {
	var asked *int64
	err = row.Scan(&o.host, &o.name, &o.rollout, &o.canary, &o.version, &o.state, &o.problem, &asked)
	if asked != nil {
		o.asked = time.UnixMilli(*asked)
	}
	return o, err
}

// underWay are the orders of all rollouts that have not ended, one rollout after the
// other, in their places.
func underWay(t *store.Tx) ([]order, error) {
	return store.All(t, scanOrder, orderQuery+`u.rollout IN (SELECT rollout FROM host_updates WHERE state IN ('waiting', 'asked'))
		ORDER BY u.rollout, u.place`)
}

// move is one change of an order, if it is still as it was. A host that was removed
// has none.
func (o order) move(t *store.Tx, to orderState, problem string) (taken bool, err error) {
	var n int64
	switch to {
	case orderDone:
		n, err = t.Exec(`DELETE FROM host_updates WHERE host_id = ? AND rollout = ? AND state = ?`, o.host, o.rollout, o.state)
	case orderAsked:
		n, err = t.Exec(`UPDATE host_updates SET state = ?, problem = '', asked_at = ? WHERE host_id = ? AND rollout = ? AND state = ?`,
			to, time.Now().UnixMilli(), o.host, o.rollout, o.state)
	default:
		n, err = t.Exec(`UPDATE host_updates SET state = ?, problem = ?, asked_at = NULL WHERE host_id = ? AND rollout = ? AND state = ?`,
			to, problem, o.host, o.rollout, o.state)
	}
	return n == 1, err
}
