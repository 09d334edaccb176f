package shipfox

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

// Announce tells the service of a runner before it is launched.
//
// At head it is attached to its instance. False in the first answer is a
// refusal. When the answer is lost the attach is repeated once, and then true
// and false both mean go on: only we know that fresh id, and a repeated attach
// answers false. In the older generations "starting" is reported.
func (c *ControlPlane) Announce(ctx context.Context, r provisioner.Ref) error {
	g, err := c.Generation(ctx)
	if err != nil {
		return err
	}
	if g != Head {
		return c.announceStarting(ctx, r)
	}
	attached, err := c.attach(ctx, r)
	if e := asAPI(err); err != nil && (e == nil || !e.definite()) {
		if _, err = c.attach(ctx, r); err == nil {
			c.observe(r.ID, time.Time{})
			return nil
		}
	}
	switch {
	case err != nil:
		c.forgetGeneration(err)
		return err
	case attached:
		c.observe(r.ID, time.Time{})
		return nil
	default:
		return fmt.Errorf("shipfox: attach runner %s: %w", r.ID, provisioner.ErrRefused)
	}
}

func (c *ControlPlane) attach(ctx context.Context, r provisioner.Ref) (bool, error) {
	instance := r.Labels[LabelInstance]
	if instance == "" {
		return false, nil // minted while the service spoke another generation
	}
	var answer struct {
		Attached bool `json:"attached"`
	}
	_, err := c.client.post(ctx, "/provisioners/runner-instances/"+url.PathEscape(instance)+"/provider-runner",
		map[string]string{"provider_runner_id": r.ID}, &answer)
	return answer.Attached, err
}

func (c *ControlPlane) announceStarting(ctx context.Context, r provisioner.Ref) error {
	err := c.report(ctx, []provisioner.Event{{Runner: r.ID, Labels: r.Labels, State: provisioner.EventStarting, At: time.Now()}})
	if hasStatus(err, http.StatusBadRequest) {
		return fmt.Errorf("%w: %w", err, provisioner.ErrRefused)
	}
	return err
}
