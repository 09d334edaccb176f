package docker_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// pulled is a spec of the registry's image.
func pulled(r *registry, policy backend.PullPolicy) backend.Spec {
	return backend.Spec{ID: newID(), Image: r.image(), PullPolicy: policy}
}

// A hundred runners of one image are one pull.
func TestOnePullAtATime(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	gate := make(chan struct{})
	r.set(func() { r.gate = gate })
	b := open(t)
	errs := make([]error, 10)
	impatient, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { left <- b.Prepare(impatient, pulled(r, "")) })
	<-r.waiting // the pull is under way, and its first asker waits for it
	for i := range errs {
		wg.Go(func() {
			spec := pulled(r, backend.PullIfNotPresent)
			if i%2 == 0 {
				errs[i] = b.Prepare(t.Context(), spec)
			} else {
				errs[i] = b.Launch(t.Context(), spec)
			}
		})
	}
	leave()
	require.ErrorIs(t, <-left, context.Canceled, "a caller's ctx ends its own wait")
	close(gate)
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, 1, r.count(), "pulls of one image")
}

func TestPullPolicies(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	b := open(t, func(c *docker.Config) { c.PullWindow = time.Hour })
	never := pulled(r, backend.PullNever)
	err := b.Launch(t.Context(), never)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "No such image")
	require.ErrorIs(t, b.Prepare(t.Context(), never), backend.ErrInvalid)
	require.Zero(t, r.count(), "never means never")

	text, _ := output(t, b, pulled(r, ""))
	require.Equal(t, "version 1\n", text)
	require.NoError(t, b.Prepare(t.Context(), pulled(r, "")))
	require.NoError(t, b.Launch(t.Context(), never))
	require.Equal(t, 1, r.count(), "it is present")

	r.push(t, "2")
	text, _ = output(t, b, pulled(r, backend.PullIfNotPresent))
	require.Equal(t, "version 1\n", text, "present is present, however old")

	older := pulled(r, backend.PullIfOlder)
	older.PullMaxAge = time.Hour
	text, _ = output(t, b, older)
	require.Equal(t, "version 1\n", text, "fetched within the hour")
	older.ID, older.PullMaxAge = newID(), time.Nanosecond
	text, _ = output(t, b, older)
	require.Equal(t, "version 2\n", text, "older than allowed")
	require.Equal(t, 2, r.count())
}

// Always asks the registry for each preparation, and the launch after it does
// not ask again.
func TestPullAlways(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	b := open(t)
	require.NoError(t, b.Prepare(t.Context(), pulled(r, backend.PullAlways)))
	r.push(t, "2")
	require.NoError(t, b.Prepare(t.Context(), pulled(r, backend.PullAlways)))
	text, _ := output(t, b, pulled(r, backend.PullAlways))
	require.Equal(t, "version 2\n", text)
	require.Equal(t, 2, r.count(), "two preparations, and a launch just after")

	other := open(t, func(c *docker.Config) { c.PullWindow = time.Nanosecond })
	r.push(t, "3")
	text, _ = output(t, other, pulled(r, backend.PullAlways))
	require.Equal(t, "version 3\n", text, "a launch that was not prepared")
}

// A failed pull fails that launch, with the engine's words, and nothing runs from
// the image that is there.
func TestFailedPullIsLoud(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	b := open(t, func(c *docker.Config) { c.PullWindow = time.Nanosecond })
	require.NoError(t, b.Prepare(t.Context(), pulled(r, backend.PullAlways)))

	r.set(func() { r.status = http.StatusNotFound })
	stale := pulled(r, backend.PullAlways)
	err := b.Launch(t.Context(), stale)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "manifest unknown")
	require.ErrorContains(t, err, r.image())
	nothing(t, stale.ID)

	r.set(func() { r.status = http.StatusInternalServerError })
	err = b.Prepare(t.Context(), stale)
	require.ErrorIs(t, err, backend.ErrUnavailable, "a registry in trouble")
	require.False(t, backend.IsDefinite(nil))
}

// The engine tells of a bad layer in the middle of an answer that began with 200.
func TestPullFailsInTheStream(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.set(func() { r.corrupt = true })
	b := open(t)
	spec := pulled(r, "")
	err := b.Launch(t.Context(), spec)
	require.Error(t, err)
	require.True(t, backend.IsDefinite(err), "nothing was started: %v", err)
	nothing(t, spec.ID)
	r.set(func() { r.corrupt = false })
	require.NoError(t, b.Launch(t.Context(), spec), "the next pull begins anew")
}

func TestPullTimeout(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	gate := make(chan struct{})
	t.Cleanup(func() { close(gate) })
	r.set(func() { r.gate = gate })
	b := open(t, func(c *docker.Config) { c.PullTimeout = 300 * time.Millisecond })
	err := b.Prepare(t.Context(), pulled(r, ""))
	require.ErrorIs(t, err, backend.ErrUnavailable)
	require.ErrorContains(t, err, "given up")
	require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's own context has not ended")
}

// Close does not wait for a pull that never ends.
func TestCloseEndsPulls(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	gate := make(chan struct{})
	t.Cleanup(func() { close(gate) })
	r.set(func() { r.gate = gate })
	b, err := docker.New(docker.Config{Owner: "me", Host: enginetest.Host(t)})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- b.Prepare(t.Context(), pulled(r, "")) }()
	<-r.waiting
	require.NoError(t, b.Close())
	require.Error(t, <-ended)
	require.ErrorIs(t, b.Prepare(t.Context(), pulled(r, backend.PullAlways)), docker.ErrClosed)
	require.NoError(t, b.Close(), "twice")
}

func TestRegistryCredentials(t *testing.T) {
	const user, password = "robot", "canary-3f9a"
	r := newRegistry(t)
	r.set(func() { r.user, r.password = user, password })
	write := func(content string) string {
		folder := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(folder, "config.json"), []byte(content), 0o600))
		return folder
	}
	var logged bytes.Buffer
	openWith := func(folder string) *docker.Backend {
		return open(t, func(c *docker.Config) {
			c.ConfigDir = folder
			c.Logger = hclog.New(&hclog.LoggerOptions{Output: &logged, Level: hclog.Trace})
		})
	}
	engine := enginetest.Engine(t)
	spec := pulled(r, "")

	err := openWith(write(`{}`)).Prepare(t.Context(), spec)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "no basic auth credentials")

	secret := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	require.NoError(t, openWith(write(fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.address, secret))).Prepare(t.Context(), spec))
	enginetest.RemoveImages(t, engine, r.address)

	helpers := t.TempDir()
	program := fmt.Sprintf("#!/bin/sh\necho '{\"ServerURL\":\"%s\",\"Username\":\"%s\",\"Secret\":\"%s\"}'\n", r.address, user, password)
	require.NoError(t, os.WriteFile(filepath.Join(helpers, "docker-credential-test"), []byte(program), 0o700))
	t.Setenv("PATH", helpers+":"+os.Getenv("PATH"))
	require.NoError(t, openWith(write(fmt.Sprintf(`{"credHelpers":{%q:"test"}}`, r.address))).Prepare(t.Context(), spec))
	enginetest.RemoveImages(t, engine, r.address)

	err = openWith(write(fmt.Sprintf(`{"credHelpers":{%q:"there-is-none"}}`, r.address))).Prepare(t.Context(), spec)
	require.ErrorContains(t, err, "there-is-none", "why there were no credentials")

	wrong := base64.StdEncoding.EncodeToString([]byte(user + ":canary-wrong"))
	err = openWith(write(fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.address, wrong))).Prepare(t.Context(), spec)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.NotContains(t, err.Error(), "canary")
	require.Contains(t, logged.String(), "pulling image")
	for _, hidden := range []string{password, secret, wrong} {
		require.NotContains(t, logged.String(), hidden)
	}
}

// A launch's own credential goes before the Docker config file's, where it is
// for the image's registry, and is told to nobody else.
func TestOwnCredential(t *testing.T) {
	t.Parallel()
	const user, password = "robot", "canary-own/77"
	r := newRegistry(t)
	r.set(func() { r.user, r.password = user, password })
	wrong := base64.StdEncoding.EncodeToString([]byte(user + ":canary-wrong"))
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "config.json"), fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, r.address, wrong), 0o600))
	var logged bytes.Buffer
	b := open(t, func(c *docker.Config) {
		c.ConfigDir = folder
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: &logged, Level: hclog.Trace})
	})
	with := func(c backend.Credential) backend.Spec {
		spec := pulled(r, backend.PullAlways)
		spec.Credential = &c
		return spec
	}
	for name, c := range map[string]backend.Credential{
		"another registry's": {Registry: "ghcr.io", Username: user, Password: password},
		"a near miss":        {Registry: "x" + r.address, Username: user, Password: password},
		"a wrong password":   {Registry: r.address, Username: user, Password: "canary-bad"},
	} {
		err := b.Prepare(t.Context(), with(c))
		require.ErrorIs(t, err, backend.ErrInvalid, name)
		require.NotContains(t, err.Error(), "canary", name)
	}
	require.Zero(t, r.count())
	spec := with(backend.Credential{Username: user, Password: password})
	require.NoError(t, b.Launch(t.Context(), spec), "no registry: the image's own")
	require.NoError(t, b.Prepare(t.Context(), with(backend.Credential{Registry: "https://" + r.address + "/v2/", Username: user, Password: password})))

	require.ErrorIs(t, b.Launch(t.Context(), pulled(r, backend.PullAlways)), backend.ErrInvalid, "what one credential has fetched says nothing of another")
	c := inspect(t, spec.ID)
	require.NotContains(t, fmt.Sprintf("%+v %+v", c.Config, c.HostConfig), "canary")
	require.Contains(t, logged.String(), "pulling image")
	for _, hidden := range []string{"canary", base64.StdEncoding.EncodeToString([]byte(user + ":" + password))} {
		require.NotContains(t, logged.String(), hidden)
	}

	// A registry may say what it was sent.
	r.set(func() { r.status = http.StatusNotFound; r.words = "who is " + password + "?" })
	err := b.Prepare(t.Context(), spec)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "who is [redacted]?")
}
