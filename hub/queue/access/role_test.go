package access_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
	"github.com/slipway-ci/slipway/tokens"
)

func TestRolesCoverWhatIsBelowThem(t *testing.T) {
	order := []queue.Role{queue.RoleViewer, queue.RoleOperator, queue.RoleAdmin}
	for i, r := range order {
		for j, least := range order {
			require.Equal(t, i >= j, r.Covers(least), "%s covers %s", r, least)
		}
		require.False(t, r.Covers(""), "what needs no known role is for nobody")
		require.False(t, r.Covers("owner"))
		require.False(t, queue.Role("").Covers(r))
		require.False(t, queue.Role("root").Covers(r))
	}
}

func TestTokensHaveRoles(t *testing.T) {
	w := queuetest.New(t)
	ctx := t.Context()
	for _, role := range []queue.Role{queue.RoleAdmin, queue.RoleOperator, queue.RoleViewer} {
		made, secret, err := w.CreateToken(ctx, queue.TokenSpec{Kind: tokens.API, Role: role})
		require.NoError(t, err)
		require.Equal(t, role, made.Role)
		found, err := w.Authenticate(ctx, secret.Reveal(), tokens.Admin, tokens.API)
		require.NoError(t, err)
		require.Equal(t, role, found.Role)
	}
	admin, _, err := w.CreateToken(ctx, queue.TokenSpec{Kind: tokens.Admin})
	require.NoError(t, err)
	require.Equal(t, queue.RoleAdmin, admin.Role)
	other, _, err := w.CreateToken(ctx, queue.TokenSpec{Kind: tokens.Provisioner})
	require.NoError(t, err)
	require.Empty(t, other.Role)
	for _, spec := range []queue.TokenSpec{
		{Kind: tokens.API}, {Kind: tokens.API, Role: "root"}, {Kind: tokens.Admin, Role: queue.RoleViewer},
		{Kind: tokens.Provisioner, Role: queue.RoleAdmin}, {Kind: tokens.API, Role: queue.RoleAdmin, Generation: queue.GenerationHead},
	} {
		_, _, err := w.CreateToken(ctx, spec)
		require.ErrorIs(t, err, queue.ErrInvalid, "%+v", spec)
	}
}

func TestTheLastAdminIsKept(t *testing.T) {
	synctest.Test(t, testTheLastAdminIsKept)
}

func testTheLastAdminIsKept(t *testing.T) {
	w := queuetest.New(t)
	ctx := t.Context()
	create := func(spec queue.TokenSpec) queue.Token {
		token, _, err := w.CreateToken(ctx, spec)
		require.NoError(t, err)
		return token
	}
	first := create(queue.TokenSpec{Kind: tokens.Admin})
	create(queue.TokenSpec{Kind: tokens.API, Role: queue.RoleOperator})
	_, err := w.RevokeTokenKeepingAdmin(ctx, first.ID)
	require.ErrorIs(t, err, queue.ErrLastAdmin, "an operator is no admin")

	brief := create(queue.TokenSpec{Kind: tokens.Admin, Lifetime: time.Millisecond})
	time.Sleep(time.Millisecond)
	_, err = w.RevokeTokenKeepingAdmin(ctx, first.ID)
	require.ErrorIs(t, err, queue.ErrLastAdmin, "one that has expired counts for nothing")
	_, err = w.RevokeTokenKeepingAdmin(ctx, brief.ID)
	require.NoError(t, err)

	second := create(queue.TokenSpec{Kind: tokens.API, Role: queue.RoleAdmin})
	revoked, err := w.RevokeTokenKeepingAdmin(ctx, first.ID)
	require.NoError(t, err)
	require.False(t, revoked.RevokedAt.IsZero())
	_, err = w.RevokeTokenKeepingAdmin(ctx, first.ID)
	require.NoError(t, err, "revoking again changes nothing")
	_, err = w.RevokeTokenKeepingAdmin(ctx, second.ID)
	require.ErrorIs(t, err, queue.ErrLastAdmin, "an API token with the role counts like any")
	_, err = w.RevokeToken(ctx, second.ID)
	require.NoError(t, err)
	_, err = w.Token(ctx, ledger.NewID())
	require.ErrorIs(t, err, queue.ErrNotFound)
}

func TestARevokedTokenIsTold(t *testing.T) {
	w := queuetest.New(t)
	token, _, err := w.CreateToken(t.Context(), queue.TokenSpec{Kind: tokens.API, Role: queue.RoleViewer})
	require.NoError(t, err)
	sub := w.Subscribe(queue.TopicToken(token.ID))
	defer sub.Close()
	_, err = w.RevokeToken(t.Context(), token.ID)
	require.NoError(t, err)
	select {
	case <-sub.C:
	case <-time.After(30 * time.Second):
		t.Fatal("what a token keeps open must end with it")
	}
}
