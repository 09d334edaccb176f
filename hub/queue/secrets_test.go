package queue_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
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
	q, err := queue.New(t.Context(), queue.Config{Store: s, Logger: tracing(log)})
	require.NoError(t, err)
	w := &queuetest.World{Queue: q, T: t, Dir: dir}
	secrets := everySecret(w, canary)
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
func everySecret(w *queuetest.World, canary string) map[string]string {
	ctx := w.T.Context()
	secrets := map[string]string{"a job's variable": canary}
	hide := func(name, secret string) {
		require.NotEmpty(w.T, secret)
		if strings.HasPrefix(secret, "sf_") {
			secret = secret[16:]
		}
		secrets[name] = secret
	}
	for _, kind := range []tokens.Kind{tokens.Provisioner, tokens.ManualRegistration, tokens.Admin} {
		_, token, err := w.CreateToken(ctx, queue.TokenSpec{Kind: kind, Name: "n"})
		require.NoError(w.T, err)
		hide(string(kind), token.Reveal())
	}
	submit := func() {
		_, err := w.Submit(ctx, queue.JobSpec{Labels: []string{"a"}, Run: "true", Env: map[string]string{"SECRET": canary}})
		require.NoError(w.T, err)
	}
	submit()
	p := w.Provisioner(queue.GenerationHead)
	minted, err := w.Mint(ctx, p, []queue.InstanceRequest{{Reservation: w.Look(p, 1, "a").Reservations[0].ID}})
	require.NoError(w.T, err)
	hide("bootstrap token", minted[0].Token.Reveal())
	control, err := w.Exchange(ctx, minted[0].Token.Reveal())
	require.NoError(w.T, err)
	hide("control session", control.Token.Reveal())
	activation, err := w.Enrol(ctx, control.Token.Reveal(), queue.Enrolment{Labels: []string{"a"}, Kind: "test"})
	require.NoError(w.T, err)
	hide("activation token", activation.Reveal())
	session, err := w.Register(ctx, activation.Reveal(), []string{"a"})
	require.NoError(w.T, err)
	hide("session token", session.Token)
	claim, _, err := w.Claim(ctx, session.Token, true)
	require.NoError(w.T, err)
	hide("lease token", claim.LeaseToken)
	leased, err := w.LeasedJob(ctx, claim.LeaseToken)
	require.NoError(w.T, err)
	require.Equal(w.T, canary, leased.Env["SECRET"])

	submit()
	older := w.Provisioner(queue.GenerationERT)
	ert, err := w.MintTokens(ctx, older, w.Look(older, 1, "a").Reservations[0].ID, []string{"x"})
	require.NoError(w.T, err)
	hide("registration token", ert[0].Token.Reveal())
	return secrets
}

// A job whose environment was sealed with a key that was given up can't run: it says
// so as soon as a runner has it, and the runner is free.
func TestAnEnvironmentThatCantBeReadEndsItsJob(t *testing.T) {
	w := queuetest.New(t)
	ctx := t.Context()
	job, err := w.Submit(ctx, queue.JobSpec{Labels: []string{"a"}, Run: "true", Env: map[string]string{"SECRET": "hidden"}})
	require.NoError(t, err)
	require.NoError(t, w.Store().Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE jobs SET env = CAST(substr(env, 1, 1) || x'ffffffff' || substr(env, 6) AS BLOB) WHERE id = ?`, job.ID) // the key's id
		return err
	}))
	_, registration, err := w.CreateToken(ctx, queue.TokenSpec{Kind: tokens.ManualRegistration})
	require.NoError(t, err)
	session, err := w.Register(ctx, registration.Reveal(), []string{"a"})
	require.NoError(t, err)
	claim, found, err := w.Claim(ctx, session.Token, true)
	require.NoError(t, err)
	require.True(t, found)
	for range 2 {
		_, err = w.LeasedJob(ctx, claim.LeaseToken)
		require.ErrorIs(t, err, queue.ErrLeaseEnded)
	}
	job, err = w.Job(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, queue.StateFailed, job.State)
	require.Equal(t, "environment-unreadable: it can't be read, since its master key is gone: submit the job anew", job.Reason)
	_, found, err = w.Claim(ctx, session.Token, true)
	require.NoError(t, err)
	require.False(t, found, "nor does it run again")
}

// Another master key ends no session and no lease, and hides no environment; the
// data folder alone opens nothing.
func TestTheMasterKeyIsRotated(t *testing.T) {
	w := queuetest.New(t)
	ctx := t.Context()
	spec := queue.JobSpec{Labels: []string{"a"}, Run: "true", Env: map[string]string{"SECRET": "hidden"}, Key: "once"}
	job, err := w.Submit(ctx, spec)
	require.NoError(t, err)
	_, registration, err := w.CreateToken(ctx, queue.TokenSpec{Kind: tokens.ManualRegistration})
	require.NoError(t, err)
	session, err := w.Register(ctx, registration.Reveal(), []string{"a"})
	require.NoError(t, err)
	claim, found, err := w.Claim(ctx, session.Token, true)
	require.NoError(t, err)
	require.True(t, found)

	file := vault.DefaultFile(w.Dir)
	_, err = vault.Rotate(file, w.Dir)
	require.NoError(t, err)
	for range 2 { // with the previous key, and without it
		require.NoError(t, w.Store().Close())
		w = queuetest.Open(t, w.Dir)
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
	require.NoError(t, os.CopyFS(copied, os.DirFS(w.Dir)))
	s, err := store.Open(ctx, store.Config{Dir: copied})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	_, err = queue.New(ctx, queue.Config{Store: s})
	require.ErrorIs(t, err, vault.ErrKey)
	require.ErrorContains(t, err, w.Config().Vault.KeyID())
}

func TestTokensAreKnownByWhatBecameOfThem(t *testing.T) {
	w := queuetest.New(t)
	ctx := t.Context()
	token, secret, err := w.CreateToken(ctx, queue.TokenSpec{Kind: tokens.Provisioner, Name: "ci", Generation: queue.GenerationPR})
	require.NoError(t, err)
	require.Equal(t, secret.Prefix(), token.Prefix)
	found, err := w.Authenticate(ctx, secret.Reveal(), tokens.Provisioner)
	require.NoError(t, err)
	require.Equal(t, token, found)
	require.Equal(t, queue.GenerationPR, found.Generation)
	_, err = w.Authenticate(ctx, secret.Reveal(), tokens.Admin)
	require.ErrorIs(t, err, queue.ErrUnauthorized, "the wrong kind")
	_, err = w.Authenticate(ctx, tokens.New(tokens.Provisioner).Reveal(), tokens.Provisioner)
	require.ErrorIs(t, err, queue.ErrUnauthorized, "an unknown one")
	_, err = w.RevokeToken(ctx, token.ID)
	require.NoError(t, err)
	_, err = w.Authenticate(ctx, secret.Reveal(), tokens.Provisioner)
	require.ErrorIs(t, err, queue.ErrTokenRevoked)
	_, err = w.RevokeToken(ctx, ledger.NewID())
	require.ErrorIs(t, err, queue.ErrNotFound)
	list, err := w.Tokens(ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.False(t, list[0].RevokedAt.IsZero())
	for _, spec := range []queue.TokenSpec{
		{Kind: tokens.Bootstrap}, {}, {Kind: tokens.Provisioner, Generation: "v9"}, {Kind: tokens.Admin, Generation: queue.GenerationHead},
		{Kind: tokens.Admin, Lifetime: -1}, {Kind: tokens.Admin, Name: strings.Repeat("x", queue.MaxNameLength+1)},
	} {
		_, _, err := w.CreateToken(ctx, spec)
		require.ErrorIs(t, err, queue.ErrInvalid, "%+v", spec)
	}
}
