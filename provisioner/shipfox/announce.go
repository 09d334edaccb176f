package shipfox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

const (
	// announceLimit bounds one announcement with all its waits and repeats: well below
	// the life of a registration, and of the shortest reservation (60 s).
	announceLimit = 25 * time.Second
	// announceRoom is what must be left of that for a repeat.
	announceRoom = time.Second
	// A repeat of what was lost waits for a time between these two, so that it does not
	// meet the outage that the first one met, such as a proxy's restart.
	leastRepeatPause, mostRepeatPause = 250 * time.Millisecond, time.Second
	// restSpread is how far apart calls go at most that waited for the same rest.
	restSpread = 250 * time.Millisecond
)

// Announce tells the service of a runner before it is launched.
//
// At head it is attached to its instance. False in the first answer is a
// refusal. When the answer is lost the attach is repeated once, and then true
// and false both mean go on: only we know that fresh id, and a repeated attach
// answers false. In the older generations "starting" is reported. What the service
// did not take, since it wants to be left alone, is made again when that is over.
func (c *ControlPlane) Announce(ctx context.Context, r provisioner.Ref) error {
	g, err := c.Generation(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, announceLimit)
	defer cancel()
	if g != Head {
		return c.announceStarting(ctx, g, r)
	}
	attached := false
	lost, err := c.insist(ctx, g, func() (err error) {
		attached, err = c.attach(ctx, r)
		return err
	})
	switch {
	case err != nil:
		c.forgetGeneration(err)
		return err
	case attached || lost:
		c.observe(r.ID, time.Time{})
		return nil
	default:
		return fmt.Errorf("shipfox: attach runner %s: %w", r.ID, provisioner.ErrRefused)
	}
}

// insist announces until that is decided. A try that was not taken does not count, and
// is made again when the service lets us; one that was lost, and may have been taken,
// is repeated once. lost says whether there was such a one before the last.
func (c *ControlPlane) insist(ctx context.Context, g Generation, try func() error) (lost bool, err error) {
	route, limited, spent := "POST "+generations[g].announce, false, false
	for {
		if rest, resting := c.client.rest(route); resting != nil && !pause(ctx, rest+rand.N(restSpread)) {
			return lost, resting
		}
		err = try()
		e := asAPI(err)
		switch {
		case err == nil || e.definite() || e.redirects():
			return lost, err
		case e.untaken() && e.RetryAfter > 0:
			route = e.Route
			continue
		case e.untaken():
			spent, limited = limited, true
		default:
			spent, lost = lost, true
		}
		if spent || !pause(ctx, leastRepeatPause+rand.N(mostRepeatPause-leastRepeatPause)) {
			return lost, err
		}
	}
}

// pause waits; it is false where ctx leaves no time for that and for another try.
func pause(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d+announceRoom {
		return false
	}
	return sleep(ctx, d) == nil
}

func (c *ControlPlane) attach(ctx context.Context, r provisioner.Ref) (bool, error) {
	instance := r.Labels[LabelInstance]
	if instance == "" {
		return false, nil // minted while the service spoke another generation
	}
	var answer struct {
		Attached bool `json:"attached"`
	}
	_, err := c.client.do(ctx, call{
		method: http.MethodPost, route: routeAttach, path: strings.Replace(routeAttach, "{runner_instance_id}", url.PathEscape(instance), 1),
		body: map[string]string{"provider_runner_id": r.ID}, answer: &answer, limit: callTimeout,
	})
	return answer.Attached, err
}

// announceStarting may be repeated as it is: a state is only taken upwards.
func (c *ControlPlane) announceStarting(ctx context.Context, g Generation, r provisioner.Ref) error {
	starting := []provisioner.Event{{Runner: r.ID, Labels: r.Labels, State: provisioner.EventStarting, At: time.Now()}}
	_, err := c.insist(ctx, g, func() error { return c.report(ctx, starting) })
	if hasStatus(err, http.StatusBadRequest) {
		return fmt.Errorf("%w: %w", err, provisioner.ErrRefused)
	}
	return err
}
