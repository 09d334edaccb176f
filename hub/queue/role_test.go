package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/tokens"
)

func TestRolesCoverWhatIsBelowThem(t *testing.T) {
	order := []Role{RoleViewer, RoleOperator, RoleAdmin}
	for i, r := range order {
		for j, least := range order {
			require.Equal(t, i >= j, r.Covers(least), "%s covers %s", r, least)
		}
		require.False(t, r.Covers(""), "what needs no known role is for nobody")
		require.False(t, r.Covers("owner"))
		require.False(t, Role("").Covers(r))
		require.False(t, Role("root").Covers(r))
	}
}

func TestTokensHaveRoles(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for _, role := range []Role{RoleAdmin, RoleOperator, RoleViewer} {
		made, secret, err := w.CreateToken(ctx, TokenSpec{Kind: tokens.API, Role: role})
		require.NoError(t, err)
		require.Equal(t, role, made.Role)
		found, err := w.Authenticate(ctx, secret.Reveal(), tokens.Admin, tokens.API)
		require.NoError(t, err)
		require.Equal(t, role, found.Role)
	}
	admin, _, err := w.CreateToken(ctx, TokenSpec{Kind: tokens.Admin})
	require.NoError(t, err)
	require.Equal(t, RoleAdmin, admin.Role)
	other, _, err := w.CreateToken(ctx, TokenSpec{Kind: tokens.Provisioner})
	require.NoError(t, err)
	require.Empty(t, other.Role)
	for _, spec := range []TokenSpec{
		{Kind: tokens.API}, {Kind: tokens.API, Role: "root"}, {Kind: tokens.Admin, Role: RoleViewer},
		{Kind: tokens.Provisioner, Role: RoleAdmin}, {Kind: tokens.API, Role: RoleAdmin, Generation: GenerationHead},
	} {
		_, _, err := w.CreateToken(ctx, spec)
		require.ErrorIs(t, err, ErrInvalid, "%+v", spec)
	}
}

func TestTheLastAdminIsKept(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	create := func(spec TokenSpec) Token {
		token, _, err := w.CreateToken(ctx, spec)
		require.NoError(t, err)
		return token
	}
	first := create(TokenSpec{Kind: tokens.Admin})
	create(TokenSpec{Kind: tokens.API, Role: RoleOperator})
	_, err := w.RevokeTokenKeepingAdmin(ctx, first.ID)
	require.ErrorIs(t, err, ErrLastAdmin, "an operator is no admin")

	brief := create(TokenSpec{Kind: tokens.Admin, Lifetime: time.Millisecond})
	require.Eventually(t, func() bool { return !brief.Good(time.Now()) }, time.Second, time.Millisecond)
	_, err = w.RevokeTokenKeepingAdmin(ctx, first.ID)
	require.ErrorIs(t, err, ErrLastAdmin, "one that has expired counts for nothing")
	_, err = w.RevokeTokenKeepingAdmin(ctx, brief.ID)
	require.NoError(t, err)

	second := create(TokenSpec{Kind: tokens.API, Role: RoleAdmin})
	revoked, err := w.RevokeTokenKeepingAdmin(ctx, first.ID)
	require.NoError(t, err)
	require.False(t, revoked.RevokedAt.IsZero())
	_, err = w.RevokeTokenKeepingAdmin(ctx, first.ID)
	require.NoError(t, err, "revoking again changes nothing")
	_, err = w.RevokeTokenKeepingAdmin(ctx, second.ID)
	require.ErrorIs(t, err, ErrLastAdmin, "an API token with the role counts like any")
	_, err = w.RevokeToken(ctx, second.ID)
	require.NoError(t, err)
	_, err = w.Token(ctx, newID())
	require.ErrorIs(t, err, ErrNotFound)
}

func TestARevokedTokenIsTold(t *testing.T) {
	w := newWorld(t)
	token, _, err := w.CreateToken(t.Context(), TokenSpec{Kind: tokens.API, Role: RoleViewer})
	require.NoError(t, err)
	sub := w.Subscribe(TopicToken(token.ID))
	defer sub.Close()
	_, err = w.RevokeToken(t.Context(), token.ID)
	require.NoError(t, err)
	select {
	case <-sub.C:
	case <-time.After(10 * time.Second):
		t.Fatal("what a token keeps open must end with it")
	}
}
