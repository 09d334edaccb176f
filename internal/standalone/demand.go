package standalone

import (
	"context"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
)

// demand is the control plane as the loop sees it. With no reservations wanted
// jobs are left to others; runners go on, and so do the warm ones.
func (c Config) demand(control *shipfox.ControlPlane) provisioner.ControlPlane {
	if c.MaxReservations == 0 {
		return unwilling{control}
	}
	return control
}

type unwilling struct{ *shipfox.ControlPlane }

func (u unwilling) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	ad.MaxReservations = 0
	return u.ControlPlane.Poll(ctx, ad)
}
