package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/template"
)

// maxReservationTTL bounds what a poll may ask for.
const maxReservationTTL = 10 * time.Minute

// maxIntents is how many terminate intents one answer holds.
const maxIntents = 1000

// retellIntent is how long a poll may sleep on an intent that was told before:
// its answer may be lost.
const retellIntent = time.Second

// PollRequest is what a provisioner offers.
type PollRequest struct {
	// Wait is how long the poll may take without demand; at most Config.MaxPollWait.
	Wait time.Duration
	// TTL of the reservations; 0 means Config.ReservationTTL; at most 10 min.
	TTL time.Duration
	// Max bounds the runners that the answer asks for.
	Max int
	// Slots are the room; labels canonical.
	Slots []grant.Slots
}

func (r PollRequest) free() (n int) {
	for _, s := range r.Slots {
		n += s.Free
	}
	return n
}

// PollAnswer is what a poll found.
type PollAnswer struct {
	// Stats of the label sets that some slot covers, whether it is free or not.
	Stats []Stat
	// Reservations are promises made by this poll.
	Reservations []Reservation
	// NewlyReserved counts their units and those that idle runners took since the
	// last poll.
	NewlyReserved int
	// Terminate lists runners that should end, by provider runner id, at most 1000.
	Terminate []Intent
}

// Stat is the queue of one label set.
type Stat struct {
	// Labels are the set, canonical.
	Labels []string
	// Queued counts jobs that no runner has claimed, Reserved those of them that
	// are promised.
	Queued, Reserved int
	// Oldest is since when the oldest of them has waited.
	Oldest time.Time
}

// Reservation is a promise of Count runners' worth of jobs.
type Reservation struct {
	ID     string   // what Mint names it by
	Labels []string // of its jobs, canonical
	Count  int      // at least 1
	// ExpiresAt is when its jobs go to others, by the hub's clock.
	ExpiresAt time.Time
	// TTL is how long it lived when it was made.
	TTL time.Duration
}

// Intent asks for a runner's end.
type Intent struct {
	// Runner is the provider runner id.
	Runner string
	// Reason is job-cancelled or activation-timeout.
	Reason string

	id string
}

// Poll promises jobs that wait, or waits for some. It returns at once when
// something was promised, a runner should end, or the request has no room.
//
// When ctx ends nothing stays promised. A caller whose own client is gone before
// it has the answer gives it back with GiveBack.
func (d *Dispatcher) Poll(ctx context.Context, p ledger.Provisioner, req PollRequest) (PollAnswer, error) {
	sub := d.ledger.Board.Subscribe(ledger.TopicDemand, ledger.TopicProvisioner(p.ID))
	defer sub.Close()
	deadline := time.NewTimer(min(max(req.Wait, 0), d.cfg.MaxPollWait))
	defer deadline.Stop()
	for last := req.Wait <= 0; ; {
		answer, err := d.check(ctx, p, req)
		if err != nil {
			return PollAnswer{}, fmt.Errorf("queue: poll: %w", err)
		}
		if ctx.Err() != nil {
			return PollAnswer{}, d.giveUp(ctx, p, answer)
		}
		fresh, stale := d.sortIntents(answer.Terminate)
		if last || req.Max == 0 || req.free() == 0 || answer.NewlyReserved > 0 || fresh {
			d.tell(answer.Terminate)
			return answer, nil
		}
		var retell <-chan time.Time
		if stale {
			retell = time.After(retellIntent)
		}
		select {
		case <-sub.C:
		case <-retell:
		case <-deadline.C:
			last = true
		case <-ctx.Done():
			return PollAnswer{}, ctx.Err()
		}
	}
}

// GiveBack takes back what a poll promised, since its answer was lost.
func (d *Dispatcher) GiveBack(ctx context.Context, p ledger.Provisioner, reservations []Reservation) error {
	if len(reservations) == 0 {
		return nil
	}
	err := d.ledger.Write(ctx, func(t *ledger.Tx) error {
		for _, r := range reservations {
			if err := t.DropReservation(p, r.ID); err != nil {
				return err
			}
		}
		return t.AdoptIdle()
	})
	if err != nil {
		return fmt.Errorf("queue: give back reservations: %w", err)
	}
	return nil
}

func (d *Dispatcher) giveUp(ctx context.Context, p ledger.Provisioner, answer PollAnswer) error {
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := d.GiveBack(detached, p, answer.Reservations); err != nil {
		d.cfg.Logger.Warn("reservations of a lost poll stay until they expire", "err", err)
	}
	return ctx.Err()
}

// sortIntents says whether there are intents that were not told lately, and
// whether there are others.
func (d *Dispatcher) sortIntents(intents []Intent) (fresh, stale bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, intent := range intents {
		if time.Since(d.told[intent.id]) >= retellIntent {
			fresh = true
		} else {
			stale = true
		}
	}
	return fresh, stale
}

func (d *Dispatcher) tell(intents []Intent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, intent := range intents {
		d.told[intent.id] = time.Now()
	}
}

// check is one look, and one grant.
func (d *Dispatcher) check(ctx context.Context, p ledger.Provisioner, req PollRequest) (answer PollAnswer, err error) {
	err = d.ledger.Write(ctx, func(t *ledger.Tx) error {
		answer = PollAnswer{}
		if err := t.ExpireReservations(); err != nil {
			return err
		}
		if req.Max > 0 && req.free() > 0 && !d.ledger.StorageFull() {
			if err := d.grant(t, p, req, &answer); err != nil {
				return err
			}
		}
		if err := tellAdopted(t, p, &answer); err != nil {
			return err
		}
		if answer.Stats, err = stats(t, req.Slots); err != nil {
			return err
		}
		answer.Terminate, err = intents(t, p)
		return err
	})
	return answer, err
}

func (d *Dispatcher) grant(t *ledger.Tx, p ledger.Provisioner, req PollRequest, answer *PollAnswer) error {
	waiting, err := t.WaitingSets()
	if err != nil || len(waiting) == 0 {
		return err
	}
	open, err := store.All(t.Tx, func(r store.Row) (o grant.Open, err error) {
		var set string
		err = r.Scan(&set, &o.Units)
		o.Labels = ledger.SplitLabels(set)
		return o, err
	}, `SELECT label_set, granted - released - minted FROM reservations
		WHERE provisioner_id = ? AND expires_at > ? AND kind = 'launch' AND granted - released > minted ORDER BY id`,
		p.ID, ledger.Millis(t.Now))
	if err != nil {
		return err
	}
	for _, g := range grant.Plan(grant.Request{Waiting: waiting, Slots: req.Slots, Open: open, Max: req.Max}) {
		ttl := req.TTL
		if ttl == 0 || p.Generation != ledger.GenerationHead {
			ttl = d.cfg.ReservationTTL
		}
		reservation, err := promise(t, p, g, min(ttl, maxReservationTTL))
		if err != nil {
			return err
		}
		answer.Reservations = append(answer.Reservations, reservation)
		answer.NewlyReserved += reservation.Count
	}
	return nil
}

// promise binds the oldest jobs of a label set to a new reservation.
func promise(t *ledger.Tx, p ledger.Provisioner, g grant.Grant, ttl time.Duration) (Reservation, error) {
	set := ledger.JoinLabels(g.Labels)
	r := Reservation{ID: ledger.NewID(), Labels: g.Labels, Count: g.Count, ExpiresAt: ledger.FromMillis(ledger.Millis(t.Now.Add(ttl))), TTL: ttl}
	_, err := t.Exec(`INSERT INTO reservations (id, provisioner_id, kind, label_set, granted, created_at, expires_at) VALUES (?, ?, 'launch', ?, ?, ?, ?)`,
		r.ID, p.ID, set, r.Count, ledger.Millis(t.Now), ledger.Millis(r.ExpiresAt))
	if err != nil {
		return r, err
	}
	jobs, err := t.JobsWhere(`label_set = ? AND state = 'queued' ORDER BY seq LIMIT ?`, set, g.Count)
	if err != nil {
		return r, err
	}
	for _, job := range jobs {
		if err := t.Reserve(job, r.ID, r.ExpiresAt); err != nil {
			return r, err
		}
	}
	t.ExpiresAt(r.ExpiresAt)
	return r, t.MarkGranted(set)
}

// tellAdopted counts the units that idle runners took since the last poll.
func tellAdopted(t *ledger.Tx, p ledger.Provisioner, answer *PollAnswer) error {
	n, err := t.Exec(`UPDATE reservations SET told = 1 WHERE provisioner_id = ? AND told = 0`, p.ID)
	answer.NewlyReserved += int(n)
	return err
}

func stats(t *ledger.Tx, slots []grant.Slots) ([]Stat, error) {
	sets, err := store.All(t.Tx, func(r store.Row) (s Stat, err error) {
		var (
			set    string
			oldest int64
		)
		err = r.Scan(&set, &s.Queued, &s.Reserved, &oldest)
		s.Labels, s.Oldest = ledger.SplitLabels(set), ledger.FromMillis(oldest)
		return s, err
	}, `SELECT label_set, queued + reserved, reserved, (SELECT j.queued_at FROM jobs j WHERE j.seq = (SELECT min(first) FROM (
			SELECT min(seq) AS first FROM jobs WHERE label_set = s.label_set AND state = 'queued'
			UNION ALL SELECT min(seq) FROM jobs WHERE label_set = s.label_set AND state = 'reserved'
			UNION ALL SELECT min(seq) FROM jobs WHERE label_set = s.label_set AND state = 'launched')))
		FROM label_sets s WHERE queued > 0 OR reserved > 0 ORDER BY label_set`)
	if err != nil {
		return nil, err
	}
	var stats []Stat
	for _, s := range sets {
		for _, slot := range slots {
			if template.Covers(slot.Labels, s.Labels) {
				stats = append(stats, s)
				break
			}
		}
	}
	return stats, nil
}

func intents(t *ledger.Tx, p ledger.Provisioner) ([]Intent, error) {
	return store.All(t.Tx, func(r store.Row) (i Intent, err error) {
		return i, r.Scan(&i.id, &i.Runner, &i.Reason)
	}, `SELECT id, provider_runner_id, intent FROM runners INDEXED BY runners_intent
		WHERE provisioner_id = ? AND intent <> '' AND ended_at IS NULL AND provider_runner_id IS NOT NULL
		AND (? OR intent = 'job-cancelled')
		ORDER BY provider_runner_id LIMIT ?`, p.ID, p.Generation == ledger.GenerationHead, maxIntents)
}

// Resume grants what was held back while Config.StorageFull said so: call it when
// that has changed.
func (d *Dispatcher) Resume(ctx context.Context) error {
	err := d.ledger.Write(ctx, func(t *ledger.Tx) error {
		t.Wake(ledger.TopicDemand)
		return t.AdoptIdle()
	})
	if err != nil {
		return fmt.Errorf("queue: resume: %w", err)
	}
	return nil
}
