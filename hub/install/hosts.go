package install

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/tokens"
)

// Registry is what is used of *hosts.Registry.
type Registry interface {
	Invited(ctx context.Context, enrolment tokens.Token) (hosts.Host, error)
}

// Of makes an Inviter of the registry of hosts.
func Of(r Registry) Inviter {
	return InviterFunc(func(ctx context.Context, enrolment tokens.Token) (Invited, error) {
		host, err := r.Invited(ctx, enrolment)
		for _, known := range []struct{ theirs, ours error }{
			{hosts.ErrUnknownEnrolment, ErrUnknown}, {hosts.ErrSpentEnrolment, ErrSpent}, {hosts.ErrExpiredEnrolment, ErrExpired},
		} {
			if errors.Is(err, known.theirs) {
				return Invited{}, known.ours
			}
		}
		if err != nil {
			return Invited{}, err
		}
		return Invited{Host: host.Name, Isolated: host.Isolated}, nil
	})
}
