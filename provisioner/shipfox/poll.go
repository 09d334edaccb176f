package shipfox

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

type pollRequest struct {
	Wait      int        `json:"wait_seconds"`
	TTL       int        `json:"reservation_ttl_seconds,omitempty"`
	Max       int        `json:"max_reservations"`
	Templates []pollSlot `json:"templates"`
}

type pollSlot struct {
	Template string   `json:"template_key"`
	Labels   []string `json:"labels"`
	Free     int      `json:"available_slots"`
	Starting int      `json:"starting"`
	Running  int      `json:"running"`
}

type pollAnswer struct {
	Stats []struct {
		Labels    []string  `json:"labels"`
		Queued    int       `json:"queued"`
		Reserved  int       `json:"reserved"`
		Oldest    time.Time `json:"oldest_queued_at"`
		Workspace string    `json:"workspace_id"`
	} `json:"stats"`
	Reservations []struct {
		ID        string    `json:"reservation_id"`
		Labels    []string  `json:"labels"`
		Count     int       `json:"count"`
		Expires   time.Time `json:"expires_at"`
		Workspace string    `json:"workspace_id"`
	} `json:"reservations"`
	Terminate   []string `json:"terminate_provider_runner_ids"`
	TerminatePr []string `json:"terminate_provisioned_runner_ids"`
}

// Poll asks for demand. Its time limit is the wait and 15 s.
func (c *ControlPlane) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	g, err := c.Generation(ctx)
	if err != nil {
		return provisioner.Demand{}, err
	}
	if most := generations[g].maxTemplates; len(ad.Templates) > most {
		return provisioner.Demand{}, fmt.Errorf("%w: %d, and %s takes at most %d", ErrTooManyTemplates, len(ad.Templates), g, most)
	}
	request := pollRequest{Wait: seconds(ad.Wait), Max: min(ad.MaxReservations, maxReservations), Templates: []pollSlot{}}
	life := oldReservationLife
	if g == Head {
		if life = min(ad.ReservationLifetime, maxReservationTTL); life > 0 {
			request.TTL = seconds(life)
		}
	}
	for _, s := range ad.Templates {
		request.Templates = append(request.Templates, pollSlot{s.Template, s.Labels, s.Free, s.Starting, s.Running})
	}
	var answer pollAnswer
	said, err := c.client.do(ctx, call{
		method: http.MethodPost, path: routePoll, body: request, answer: &answer, limit: ad.Wait + pollGrace,
	})
	if err != nil {
		c.forgetGeneration(err)
		return provisioner.Demand{}, err
	}
	return answer.demand(said.date, life), nil
}

// demand puts the answer into the loop's words. A life is a duration: both of
// the times that make it are the service's own. It is never longer than longest,
// if that is known: a date in whole seconds makes it look up to one longer than it is.
func (a pollAnswer) demand(date time.Time, longest time.Duration) provisioner.Demand {
	var d provisioner.Demand
	for _, r := range a.Reservations {
		lifetime := life(date, r.Expires, longest)
		if longest > 0 {
			lifetime = min(lifetime, longest)
		}
		d.Grants = append(d.Grants, provisioner.Grant{
			Reservation: r.ID, Labels: r.Labels, Count: r.Count, Workspace: r.Workspace, Lifetime: lifetime,
		})
	}
	for _, s := range a.Stats {
		stat := provisioner.Stat{Labels: s.Labels, Queued: s.Queued, Reserved: s.Reserved, Workspace: s.Workspace}
		if !date.IsZero() && !s.Oldest.IsZero() {
			stat.Oldest = max(date.Sub(s.Oldest), 0)
		}
		d.Stats = append(d.Stats, stat)
	}
	for _, id := range append(a.Terminate, a.TerminatePr...) {
		d.Facts = append(d.Facts, provisioner.Fact{Runner: id, Unwanted: true, Reason: "terminate-intent"})
	}
	return d
}

// life is how long something lives by the service's clock alone.
func life(date, expires time.Time, otherwise time.Duration) time.Duration {
	if date.IsZero() || expires.IsZero() {
		return otherwise
	}
	return max(expires.Sub(date), time.Second)
}

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
