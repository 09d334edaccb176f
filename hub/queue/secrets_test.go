package queue

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
	"github.com/slipway-ci/slipway/tokens"
)

// Every secret that the queue gives out or takes in must be in no file of the
// data folder, and in no log. The master key is not in the folder either.
func TestSecretsAreNowhere(t *testing.T) {
	const canary = "canary-6f1d0c2b"
	dir, log := t.TempDir(), new(bytes.Buffer)
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Logger: tracing(log)})
	require.NoError(t, err)
	q, err := New(t.Context(), Config{Store: s, Logger: tracing(log)})
	require.NoError(t, err)
	w := &world{Queue: q, t: t, dir: dir}
	secrets := w.everySecret(canary)
	key, err := os.ReadFile(vault.DefaultFile(dir))
	require.NoError(t, err)
	secrets["the master key"] = strings.TrimSpace(string(key))
	require.NoError(t, s.Close())

	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(dir, file.Name()))
		require.NoError(t, err)
		for name, secret := range secrets {
			require.NotContains(t, string(content), secret, "%s is in the file %s", name, file.Name())
		}
	}
	for name, secret := range secrets {
		require.NotContains(t, log.String(), secret, "%s is in the log", name)
	}
}

func tracing(out *bytes.Buffer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: out, Level: hclog.Trace})
}

// everySecret goes through all that hands out a secret, and returns what should
// stay hidden: of a token what comes after the part that listings show.
func (w *world) everySecret(canary string) map[string]string {
	ctx := w.t.Context()
	secrets := map[string]string{"a job's variable": canary}
	hide := func(name, secret string) {
		require.NotEmpty(w.t, secret)
		if strings.HasPrefix(secret, "sf_") {
			secret = secret[16:]
		}
		secrets[name] = secret
	}
	for _, kind := range []tokens.Kind{tokens.Provisioner, tokens.ManualRegistration, tokens.Admin} {
		_, token, err := w.CreateToken(ctx, TokenSpec{Kind: kind, Name: "n"})
		require.NoError(w.t, err)
		hide(string(kind), token.Reveal())
	}
	submit := func() {
		_, err := w.Submit(ctx, JobSpec{Labels: []string{"a"}, Run: "true", Env: map[string]string{"SECRET": canary}})
		require.NoError(w.t, err)
	}
	submit()
	p := w.provisioner(GenerationHead)
	minted, err := w.Mint(ctx, p, []InstanceRequest{{Reservation: w.poll(p, 1, "a").Reservations[0].ID}})
	require.NoError(w.t, err)
	hide("bootstrap token", minted[0].Token.Reveal())
	control, err := w.Exchange(ctx, minted[0].Token.Reveal())
	require.NoError(w.t, err)
	hide("control session", control.Token.Reveal())
	activation, err := w.Enrol(ctx, control.Token.Reveal(), Enrolment{Labels: []string{"a"}, Kind: "test"})
	require.NoError(w.t, err)
	hide("activation token", activation.Reveal())
	session, err := w.Register(ctx, activation.Reveal(), []string{"a"})
	require.NoError(w.t, err)
	hide("session token", session.Token)
	claim, _, err := w.Claim(ctx, session.Token, true)
	require.NoError(w.t, err)
	hide("lease token", claim.LeaseToken)
	leased, err := w.LeasedJob(ctx, claim.LeaseToken)
	require.NoError(w.t, err)
	require.Equal(w.t, canary, leased.Env["SECRET"])

	submit()
	older := w.provisioner(GenerationERT)
	ert, err := w.MintTokens(ctx, older, w.poll(older, 1, "a").Reservations[0].ID, []string{"x"})
	require.NoError(w.t, err)
	hide("registration token", ert[0].Token.Reveal())
	return secrets
}

// Another master key ends no session and no lease, and hides no environment; the
// data folder alone opens nothing.
func TestTheMasterKeyIsRotated(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	spec := JobSpec{Labels: []string{"a"}, Run: "true", Env: map[string]string{"SECRET": "hidden"}, Key: "once"}
	job, err := w.Submit(ctx, spec)
	require.NoError(t, err)
	_, registration, err := w.CreateToken(ctx, TokenSpec{Kind: tokens.ManualRegistration})
	require.NoError(t, err)
	session, err := w.Register(ctx, registration.Reveal(), []string{"a"})
	require.NoError(t, err)
	claim, found, err := w.Claim(ctx, session.Token, true)
	require.NoError(t, err)
	require.True(t, found)

	file := vault.DefaultFile(w.dir)
	_, err = vault.Rotate(file, w.dir)
	require.NoError(t, err)
	for range 2 { // with the previous key, and without it
		require.NoError(t, w.Store().Close())
		w = openWorld(t, w.dir)
		leased, err := w.LeasedJob(ctx, claim.LeaseToken)
		require.NoError(t, err)
		require.Equal(t, "hidden", leased.Env["SECRET"])
		again, err := w.Submit(ctx, spec)
		require.NoError(t, err)
		require.Equal(t, job.ID, again.ID, "an idempotency key is known still")
		done, err := w.Config().Vault.Reseal(ctx)
		require.NoError(t, err)
		if len(done.Retired) > 0 {
			keys, err := os.ReadFile(file)
			require.NoError(t, err)
			newest, _, _ := strings.Cut(string(keys), "\n")
			require.NoError(t, os.WriteFile(file, []byte(newest), 0o600))
		}
	}
	require.NoError(t, w.Store().Close())

	copied := t.TempDir()
	require.NoError(t, os.CopyFS(copied, os.DirFS(w.dir)))
	s, err := store.Open(ctx, store.Config{Dir: copied})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	_, err = New(ctx, Config{Store: s})
	require.ErrorIs(t, err, vault.ErrKey)
	require.ErrorContains(t, err, w.Config().Vault.KeyID())
}

func TestTokensAreKnownByWhatBecameOfThem(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	token, secret, err := w.CreateToken(ctx, TokenSpec{Kind: tokens.Provisioner, Name: "ci", Generation: GenerationPR})
	require.NoError(t, err)
	require.Equal(t, secret.Prefix(), token.Prefix)
	found, err := w.Authenticate(ctx, secret.Reveal(), tokens.Provisioner)
	require.NoError(t, err)
	require.Equal(t, token, found)
	require.Equal(t, GenerationPR, found.Generation)
	_, err = w.Authenticate(ctx, secret.Reveal(), tokens.Admin)
	require.ErrorIs(t, err, ErrUnauthorized, "the wrong kind")
	_, err = w.Authenticate(ctx, tokens.New(tokens.Provisioner).Reveal(), tokens.Provisioner)
	require.ErrorIs(t, err, ErrUnauthorized, "an unknown one")
	_, err = w.RevokeToken(ctx, token.ID)
	require.NoError(t, err)
	_, err = w.Authenticate(ctx, secret.Reveal(), tokens.Provisioner)
	require.ErrorIs(t, err, ErrTokenRevoked)
	_, err = w.RevokeToken(ctx, newID())
	require.ErrorIs(t, err, ErrNotFound)
	list, err := w.Tokens(ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.False(t, list[0].RevokedAt.IsZero())
	for _, spec := range []TokenSpec{
		{Kind: tokens.Bootstrap}, {}, {Kind: tokens.Provisioner, Generation: "v9"}, {Kind: tokens.Admin, Generation: GenerationHead},
		{Kind: tokens.Admin, Lifetime: -1}, {Kind: tokens.Admin, Name: strings.Repeat("x", MaxNameLength+1)},
	} {
		_, _, err := w.CreateToken(ctx, spec)
		require.ErrorIs(t, err, ErrInvalid, "%+v", spec)
	}
}
