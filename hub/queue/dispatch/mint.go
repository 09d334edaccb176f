package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/access"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// credentialLifetime is how long a bootstrap or registration token lives.
const credentialLifetime = 5 * time.Minute

// InstanceRequest asks for one runner of the newest generation.
type InstanceRequest struct {
	// Template is the provisioner's key; may be empty.
	Template string
	// Reservation is the promise that it is launched for; empty: a warm runner.
	Reservation string
	// ProviderID is the runner's id in the provisioner's hands, where that is known
	// before the launch; else Attach tells it.
	ProviderID string
	// Labels of the runner, canonical, where they are known; else Enrol tells them.
	Labels []string
}

// Instance is a runner that may be launched.
type Instance struct {
	// ID is the queue's id of it.
	ID string
	// Token is exchanged, once, for a control session.
	Token tokens.Token
	// Lifetime of the token.
	Lifetime time.Duration
	// Index is the request that it answers.
	Index int
}

// Mint makes runners with bootstrap tokens. It is never refused for a stale
// reservation: what a reservation can't cover is left out of the answer.
func (d *Dispatcher) Mint(ctx context.Context, p ledger.Provisioner, requests []InstanceRequest) (instances []Instance, err error) {
	err = d.ledger.Write(ctx, func(t *ledger.Tx) error {
		instances = instances[:0]
		for i, request := range requests {
			covered, err := cover(t, p, request.Reservation)
			if err != nil {
				return err
			}
			if !covered {
				continue
			}
			instance, err := mint(t, p, request)
			if err != nil {
				return err
			}
			instance.Index = i
			instances = append(instances, instance)
		}
		t.Wake(ledger.TopicProvisioner(p.ID)) // what is open is taken off what it offered: there is less of it now
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("queue: mint runners: %w", err)
	}
	return instances, nil
}

// cover takes one unit of a reservation, if it has one left.
func cover(t *ledger.Tx, p ledger.Provisioner, reservation string) (bool, error) {
	if reservation == "" {
		return true, nil
	}
	n, err := t.Exec(`UPDATE reservations SET minted = minted + 1
		WHERE id = ? AND provisioner_id = ? AND kind = 'launch' AND expires_at > ? AND granted - released > minted`,
		reservation, p.ID, ledger.Millis(t.Now))
	return n == 1, err
}

func mint(t *ledger.Tx, p ledger.Provisioner, request InstanceRequest) (Instance, error) {
	r := ledger.Runner{
		ProviderID: request.ProviderID, Template: request.Template, Labels: request.Labels,
		State: ledger.RunnerStarting, Intended: request.Reservation,
	}
	id, err := t.AddRunner(p, r)
	if err != nil {
		return Instance{}, err
	}
	secret := tokens.New(tokens.Bootstrap)
	if err := access.AddFor(t, id, secret, credentialLifetime); err != nil {
		return Instance{}, err
	}
	if err := meantNext(t, request.Reservation, id); err != nil {
		return Instance{}, err
	}
	return Instance{ID: id, Token: secret, Lifetime: credentialLifetime}, nil
}

// meantNext chooses the oldest job of a reservation that has no runner yet.
func meantNext(t *ledger.Tx, reservation, runner string) error {
	if reservation == "" {
		return nil
	}
	job, found, err := store.One(t.Tx, store.Value[string],
		`SELECT id FROM jobs WHERE reservation_id = ? AND state IN ('reserved', 'launched') AND runner_id IS NULL ORDER BY seq LIMIT 1`, reservation)
	if err != nil || !found {
		return err
	}
	return t.Meant(job, runner)
}

// RegistrationToken is one runner's credential in the older generations.
type RegistrationToken struct {
	// ProviderID is the runner's id in the provisioner's hands.
	ProviderID string
	Token      tokens.Token // a secret, of one use
	ExpiresAt  time.Time    // by the hub's clock
}

// MintTokens makes registration tokens for a reservation: all or none. Errors:
// ErrReservationNotFound, ErrReservationExpired, ExceedsError, ActiveTokenError.
func (d *Dispatcher) MintTokens(ctx context.Context, p ledger.Provisioner, reservation string, providerIDs []string) (minted []RegistrationToken, err error) {
	err = d.ledger.Write(ctx, func(t *ledger.Tx) error {
		minted = minted[:0]
		if err := checkMint(t, p, reservation, providerIDs); err != nil {
			return err
		}
		for _, providerID := range providerIDs {
			token, err := mintToken(t, p, reservation, providerID)
			if err != nil {
				return err
			}
			minted = append(minted, token)
		}
		t.Wake(ledger.TopicProvisioner(p.ID))
		_, err := t.Exec(`UPDATE reservations SET minted = minted + ? WHERE id = ?`, len(providerIDs), reservation)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("queue: mint registration tokens: %w", err)
	}
	return minted, nil
}

func checkMint(t *ledger.Tx, p ledger.Provisioner, reservation string, providerIDs []string) error {
	var active []string
	for _, id := range providerIDs {
		_, found, err := store.One(t.Tx, store.Value[string], `SELECT t.id FROM tokens t JOIN runners r ON r.id = t.runner_id
			WHERE r.provisioner_id = ? AND r.provider_runner_id = ? AND t.kind = 'ert' AND t.consumed_at IS NULL AND t.expires_at > ?`,
			p.ID, id, ledger.Millis(t.Now))
		if err != nil {
			return err
		}
		if found {
			active = append(active, id)
		}
	}
	type row struct {
		count, minted int
		expires       int64
	}
	res, found, err := store.One(t.Tx, func(r store.Row) (v row, err error) { return v, r.Scan(&v.count, &v.minted, &v.expires) },
		`SELECT granted - released, minted, expires_at FROM reservations WHERE id = ? AND provisioner_id = ? AND kind = 'launch'`, reservation, p.ID)
	switch {
	case err != nil:
		return err
	case !found:
		return ErrReservationNotFound
	case res.expires <= ledger.Millis(t.Now):
		return ErrReservationExpired
	case len(providerIDs) > res.count: // the API does not count the minted ones here
		return &ExceedsError{Requested: len(providerIDs), Count: res.count}
	case res.minted+len(providerIDs) > res.count:
		return &ExceedsError{Requested: len(providerIDs), Count: res.count, Minted: res.minted}
	case len(active) > 0:
		return &ActiveTokenError{Runners: active}
	}
	return nil
}

func mintToken(t *ledger.Tx, p ledger.Provisioner, reservation, providerID string) (RegistrationToken, error) {
	secret := tokens.New(tokens.EphemeralRegistration)
	r, found, err := t.RunnerOf(p, providerID)
	if err != nil {
		return RegistrationToken{}, err
	}
	if !found {
		r = ledger.Runner{ProviderID: providerID, State: ledger.RunnerStarting, Intended: reservation, Reservation: reservation}
		r.ID, err = t.AddRunner(p, r)
	} else {
		_, err = t.Exec(`UPDATE runners SET intended_id = ?1, reservation_id = ?1 WHERE id = ?2`, reservation, r.ID)
	}
	if err != nil {
		return RegistrationToken{}, err
	}
	if err := access.AddFor(t, r.ID, secret, credentialLifetime); err != nil {
		return RegistrationToken{}, err
	}
	return RegistrationToken{ProviderID: providerID, Token: secret, ExpiresAt: t.Now.Add(credentialLifetime)}, meantNext(t, reservation, r.ID)
}
