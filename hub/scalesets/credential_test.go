package scalesets

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
)

const canary = "canary-9d2b5f"

func (w *world) credential(name, registry string) RegistryCredential {
	w.t.Helper()
	c, err := w.SetCredential(w.t.Context(), name, CredentialSpec{Registry: registry, Username: "robot", Password: canary})
	require.NoError(w.t, err)
	return c
}

func TestCredentialIsForItsOwnRegistryAlone(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.credential("ghcr", "GHCR.io")
	w.credential("hub", "https://index.docker.io/v1/")
	w.create("with", `, "image": "ghcr.io/acme/runner:1", "credential": "ghcr"`)
	w.create("hub", `, "image": "ubuntu", "credential": "hub"`)
	w.create("without", "")
	for _, c := range []struct {
		template, image string
		want            *backend.Credential
	}{
		{"with", "ghcr.io/acme/runner:1", &backend.Credential{Registry: "ghcr.io", Username: "robot", Password: canary}},
		{"with", "ghcr.io/other/image@sha256:00", &backend.Credential{Registry: "ghcr.io", Username: "robot", Password: canary}},
		{"with", "evil.io/acme/runner:1", nil},
		{"with", "evil.io/ghcr.io/runner", nil},
		{"with", "ghcr.io:443/acme/runner", nil},
		{"with", "ghcr.io.evil.io/x", nil},
		{"with", "ghcr.io@evil.io/x", nil},
		{"with", "ghcr.io", nil}, // an image of Docker Hub
		{"with", "", nil},
		{"hub", "ubuntu", &backend.Credential{Registry: "docker.io", Username: "robot", Password: canary}},
		{"hub", "registry-1.docker.io/acme/x", &backend.Credential{Registry: "docker.io", Username: "robot", Password: canary}},
		{"hub", "ghcr.io/acme/runner:1", nil},
		{"without", "ghcr.io/acme/runner:1", nil},
		{"none", "ghcr.io/acme/runner:1", nil},
	} {
		got, err := w.Credential(ctx, c.template, c.image)
		require.NoError(t, err)
		require.Equal(t, c.want != nil, got != nil, "%s %s", c.template, c.image)
		if c.want != nil {
			require.Equal(t, *c.want, *got)
		}
	}
	require.NoError(t, w.Delete(ctx, "with", 0))
	got, err := w.Credential(ctx, "with", "ghcr.io/acme/runner:1")
	require.NoError(t, err)
	require.Nil(t, got, "a scale set that is gone pulls nothing")
}

func TestRegistryNames(t *testing.T) {
	for text, want := range map[string]string{
		"ghcr.io": "ghcr.io", " GHCR.IO ": "ghcr.io", "https://ghcr.io": "ghcr.io", "https://ghcr.io/v2/": "ghcr.io", "http://localhost:5000": "localhost:5000",
		"docker.io": "docker.io", "index.docker.io": "docker.io", "https://index.docker.io/v1/": "docker.io", "registry-1.docker.io": "docker.io", "hub.docker.com": "docker.io",
		"registry.example.com:5000": "registry.example.com:5000", "10.0.0.1:80": "10.0.0.1:80",
		"": "-", "https://": "-", "a b": "-", "user@host": "-", "host:": "-", "host:port": "-", "-a": "-", "a_b": "-", ":5000": "-", "a:123456": "-",
	} {
		got, ok := canonicalRegistry(text)
		require.Equal(t, want != "-", ok, "%q", text)
		if ok {
			require.Equal(t, want, got, "%q", text)
		}
	}
	for image, want := range map[string]string{
		"ubuntu": "docker.io", "ubuntu:22.04": "docker.io", "acme/x": "docker.io", "docker.io/library/x": "docker.io", "index.docker.io/x": "docker.io",
		"ghcr.io/a/b": "ghcr.io", "localhost/x": "localhost", "localhost:5000/x": "localhost:5000", "host:5000/x@sha256:0": "host:5000", "HOST/x": "host", "a b.c/x": "",
	} {
		require.Equal(t, want, imageRegistry(image), "%q", image)
	}
}

func TestCredentialsAreReplacedAndDeleted(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	first := w.credential("ghcr", "ghcr.io")
	require.Equal(t, "ghcr.io", first.Registry)
	w.create("small", `, "image": "ghcr.io/acme/runner:1", "credential": "ghcr"`)
	w.told()

	c, err := w.SetCredential(ctx, "ghcr", CredentialSpec{Registry: "ghcr.io", Username: "other", Password: "changed"})
	require.NoError(t, err)
	require.Equal(t, "other", c.Username)
	require.Equal(t, first.CreatedAt, c.CreatedAt)
	got, err := w.Credential(ctx, "small", "ghcr.io/acme/runner:1")
	require.NoError(t, err)
	require.Equal(t, backend.Credential{Registry: "ghcr.io", Username: "other", Password: "changed"}, *got)
	require.Equal(t, []string{"credential-set credential/ghcr: set for ghcr.io"}, w.told())

	_, err = w.SetCredential(ctx, "ghcr", CredentialSpec{Registry: "quay.io", Username: "u", Password: "p"})
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, "by small")
	require.ErrorIs(t, w.DeleteCredential(ctx, "ghcr"), ErrInUse)
	require.ErrorIs(t, w.DeleteCredential(ctx, "none"), ErrNotFound)
	_, err = w.Create(ctx, "wrong", small(t, `, "image": "quay.io/x/y", "credential": "ghcr"`))
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, `ghcr is for ghcr.io, and the image "quay.io/x/y" is not from there`)

	require.NoError(t, w.Delete(ctx, "small", 0))
	_, err = w.SetCredential(ctx, "ghcr", CredentialSpec{Registry: "quay.io", Username: "u", Password: "p"})
	require.NoError(t, err)
	require.NoError(t, w.DeleteCredential(ctx, "ghcr"))
	list, err := w.Credentials(ctx)
	require.NoError(t, err)
	require.Empty(t, list)

	for _, c := range []struct {
		name  string
		spec  CredentialSpec
		field string
	}{
		{"Bad", CredentialSpec{"ghcr.io", "u", canary}, "name"},
		{"x", CredentialSpec{"", "u", canary}, "registry"},
		{"x", CredentialSpec{"gh cr", "u", canary}, "registry"},
		{"x", CredentialSpec{"ghcr.io", "", canary}, "username"},
		{"x", CredentialSpec{"ghcr.io", "a:b", canary}, "username"},
		{"x", CredentialSpec{"ghcr.io", "u", ""}, "password"},
	} {
		_, err := w.SetCredential(ctx, c.name, c.spec)
		require.ErrorIs(t, err, ErrInvalid)
		var wrong *queue.InvalidError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, c.field, wrong.Field)
		require.NotContains(t, err.Error(), canary)
	}
}

func TestThePasswordIsNowhere(t *testing.T) {
	w := newWorld(t)
	c := w.credential("ghcr", "ghcr.io")
	w.create("small", `, "image": "ghcr.io/acme/runner:1", "credential": "ghcr"`)
	told, err := w.Credential(t.Context(), "small", "ghcr.io/acme/runner:1")
	require.NoError(t, err)
	list, err := w.Credentials(t.Context())
	require.NoError(t, err)
	spec := CredentialSpec{Registry: "ghcr.io", Username: "robot", Password: canary}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, value := range []any{c, list, spec, &spec, told, struct{ S CredentialSpec }{spec}, w.get("small")} {
			require.NotContains(t, fmt.Sprintf(verb, value), canary)
			require.NotContains(t, fmt.Sprintf(verb, value), fmt.Sprintf("%x", canary))
		}
	}
	for _, value := range []any{c, list, spec, w.get("small"), w.document("small")} {
		text, err := json.Marshal(value)
		require.NoError(t, err)
		require.NotContains(t, string(text), canary)
	}
	require.NotContains(t, w.export(), canary)
	require.NotContains(t, w.log.String(), canary)
	require.NotContains(t, fmt.Sprint(w.events), canary)
	files, err := os.ReadDir(w.dir)
	require.NoError(t, err)
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(w.dir, f.Name()))
		require.NoError(t, err)
		require.NotContains(t, string(content), canary, f.Name())
	}
}

// A sealed password that is moved to another row opens nothing, and a rotation of
// the master key leaves every one readable.
func TestPasswordsAreBoundToTheirRowAndOutliveARotation(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.credential("ghcr", "ghcr.io")
	w.create("small", `, "image": "ghcr.io/acme/runner:1", "credential": "ghcr"`)
	_, err := vault.Rotate(vault.DefaultFile(w.dir), w.dir)
	require.NoError(t, err)
	v, err := vault.Open(ctx, vault.Config{Store: w.store})
	require.NoError(t, err)
	done, err := v.Reseal(ctx)
	require.NoError(t, err)
	require.Len(t, done.Retired, 1)
	w.cfg.Vault = v
	got, err := w.Credential(ctx, "small", "ghcr.io/acme/runner:1")
	require.NoError(t, err)
	require.Equal(t, canary, got.Password)

	w.credential("thief", "ghcr.io")
	require.NoError(t, w.store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE registry_credentials SET secret = (SELECT secret FROM registry_credentials WHERE name = 'thief') WHERE name = 'ghcr'`)
		return err
	}))
	_, err = w.Credential(ctx, "small", "ghcr.io/acme/runner:1")
	require.ErrorIs(t, err, vault.ErrSealed)
}

// A credential whose key was forgotten looks as it is: of no use until it is set again.
func TestACredentialOfAForgottenKeySaysSo(t *testing.T) {
	lost, next := vault.NewKey(), vault.NewKey()
	w := newWorld(t)
	ctx := t.Context()
	open := func(key string) *Registry {
		v, err := vault.Open(ctx, vault.Config{Store: w.store, Key: key}) // that of the file is a previous one
		require.NoError(t, err)
		r, err := New(ctx, Config{Store: w.store, Hosts: w.hosts, Vault: v})
		require.NoError(t, err)
		return r
	}
	r := open(lost)
	spec := CredentialSpec{Registry: "ghcr.io", Username: "robot", Password: canary}
	_, err := r.SetCredential(ctx, "ghcr", spec)
	require.NoError(t, err)
	w.create("with", `, "image": "ghcr.io/acme/runner:1", "credential": "ghcr"`)
	w.credential("quay", "quay.io") // with another key
	id, err := vault.KeyID(lost)
	require.NoError(t, err)
	require.NoError(t, vault.Forget(ctx, w.store, id))

	r = open(next)
	problem := "sealed with key " + id + " that is gone: set it again"
	listed, err := r.Credentials(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"ghcr: " + problem, "quay: "}, []string{listed[0].Name + ": " + listed[0].Problem, listed[1].Name + ": " + listed[1].Problem})
	_, err = r.Credential(ctx, "with", "ghcr.io/acme/runner:1")
	require.ErrorIs(t, err, vault.ErrKey)
	require.ErrorContains(t, err, problem)

	_, err = r.SetCredential(ctx, "ghcr", spec)
	require.NoError(t, err)
	listed, err = r.Credentials(ctx)
	require.NoError(t, err)
	require.Empty(t, listed[0].Problem)
}
