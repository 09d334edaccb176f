package install

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/tokens"
)

var _ Registry = (*hosts.Registry)(nil)

type registry struct{ err error }

func (r registry) Invited(context.Context, tokens.Token) (hosts.Host, error) {
	return hosts.Host{ID: "0192", Name: "builder-01", Isolated: true}, r.err
}

func TestOf(t *testing.T) {
	guest, err := Of(registry{}).Invited(t.Context(), tokens.New(tokens.Enrolment))
	require.NoError(t, err)
	require.Equal(t, Invited{Host: "builder-01", Isolated: true}, guest)
	trouble := errors.New("database is locked")
	for theirs, ours := range map[error]error{
		hosts.ErrUnknownEnrolment: ErrUnknown, hosts.ErrSpentEnrolment: ErrSpent, hosts.ErrExpiredEnrolment: ErrExpired, trouble: trouble,
	} {
		_, err := Of(registry{fmt.Errorf("look up: %w", theirs)}).Invited(t.Context(), tokens.Token{})
		require.ErrorIs(t, err, ours)
	}
}
