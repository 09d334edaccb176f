package images

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// Whose registry a credential is for, as people write it.
func TestRegistryOfCredential(t *testing.T) {
	for text, want := range map[string]string{
		"ghcr.io": "ghcr.io", "https://GHCR.io": "ghcr.io", "ghcr.io/": "ghcr.io", "http://localhost:5000/v2/": "localhost:5000",
		"docker.io": "docker.io", "https://index.docker.io/v1/": "docker.io", "registry-1.docker.io": "docker.io",
	} {
		require.Equal(t, want, registryDomain(text))
	}
	auth, err := ownCredential(&backend.Credential{Username: "u", Password: "p"}, "docker.io")
	require.NoError(t, err)
	text, err := base64.URLEncoding.DecodeString(auth)
	require.NoError(t, err)
	require.Contains(t, string(text), "https://index.docker.io/v1/")
}

// A pull whose answer began well fails all the same when the stream says so, or
// ends in the middle.
func TestPullStream(t *testing.T) {
	log := hclog.NewNullLogger()
	require.NoError(t, follow(strings.NewReader(`{"status":"Downloading","id":"a","progressDetail":{"current":1,"total":9}}
{"status":"Pull complete","id":"a"}{"status":"Status: Downloaded newer image"}`), log))
	err := follow(strings.NewReader(`{"status":"x"}{"errorDetail":{"message":"denied"},"error":"denied"}`), log)
	require.EqualError(t, err, "denied")
	require.ErrorIs(t, pullFailure(errors.New("x")), backend.ErrUnavailable)
	require.Error(t, follow(strings.NewReader(`{"status":"Downloading"`), log))
}

func TestPullDue(t *testing.T) {
	i := New(Config{Window: time.Minute})
	spec := func(p backend.PullPolicy, age time.Duration) backend.Spec {
		return backend.Spec{Image: "x", PullPolicy: p, PullMaxAge: age}
	}
	for _, p := range []backend.PullPolicy{"", backend.PullIfNotPresent, backend.PullNever} {
		require.False(t, i.Due(spec(p, 0)), p)
	}
	require.True(t, i.Due(spec(backend.PullAlways, 0)))
	require.True(t, i.Due(spec(backend.PullIfOlder, time.Hour)), "nothing is known of it")
	i.record(pullKey(spec("", 0)), pulled{began: time.Now().Add(-90 * time.Second)})
	require.True(t, i.Due(spec(backend.PullAlways, 0)), "longer ago than the window")
	require.False(t, i.Due(spec(backend.PullIfOlder, time.Hour)))
	require.True(t, i.Due(spec(backend.PullIfOlder, time.Minute)))
	require.True(t, i.Due(backend.Spec{Image: "x", Arch: "arm64", PullPolicy: backend.PullIfOlder, PullMaxAge: time.Hour}), "another platform")
}

// Progress is told every now and then, not line by line.
func TestPullProgressIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r, w := io.Pipe()
		go func() {
			for i := range 250 { // 25 s
				<-time.After(100 * time.Millisecond)
				fmt.Fprintf(w, `{"status":"Downloading","id":"a","progressDetail":{"current":%d,"total":250000000}}`, i*1_000_000)
			}
			_ = w.Close()
		}()
		require.NoError(t, follow(r, hclog.New(&hclog.LoggerOptions{Output: &out})))
		require.Equal(t, 2, strings.Count(out.String(), "pulling image"), out.String())
		require.Contains(t, out.String(), "of=250MB")
	})
}

// Whoever found no image, and comes when a pull of it has just ended, asks for no other.
func TestAPullThatEndedSinceWillDo(t *testing.T) {
	i := New(Config{Background: func(context.Context, func(context.Context)) error { return errors.New("it pulls") }})
	spec := backend.Spec{Image: "x"}
	looked := time.Now()
	require.ErrorContains(t, i.Pull(t.Context(), spec, looked), "it pulls")
	i.record(pullKey(spec), pulled{began: looked.Add(-time.Minute), ended: time.Now()})
	require.NoError(t, i.Pull(t.Context(), spec, looked))
	require.ErrorContains(t, i.Pull(t.Context(), spec, time.Now()), "it pulls", "it was gone again after that")
	require.ErrorContains(t, i.Pull(t.Context(), spec, time.Time{}), "it pulls", "whatever is there")
}
