package request

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

func TestGPUsPrivilegedAndUnbounded(t *testing.T) {
	s := Settings{PidsLimit: 10}
	h, err := s.host(backend.Spec{GPUs: 2, Privileged: true, PidsLimit: -1})
	require.NoError(t, err)
	require.Equal(t, []container.DeviceRequest{{Count: 2, Capabilities: [][]string{{"gpu"}}}}, h.DeviceRequests)
	require.True(t, h.Privileged)
	require.EqualValues(t, -1, *h.PidsLimit)
	h, err = s.host(backend.Spec{GPUs: -1})
	require.NoError(t, err)
	require.Equal(t, -1, h.DeviceRequests[0].Count)
	require.EqualValues(t, 10, *h.PidsLimit)
	require.False(t, h.Privileged)
}

func TestGPUsByID(t *testing.T) {
	var s Settings
	h, err := s.host(backend.Spec{GPUs: 2, GPUIDs: []string{"GPU-5d1f", "0:1"}})
	require.NoError(t, err)
	require.Equal(t, []container.DeviceRequest{{DeviceIDs: []string{"GPU-5d1f", "0:1"}, Capabilities: [][]string{{"gpu"}}}}, h.DeviceRequests)
	for _, ids := range [][]string{{"all"}, {"None"}, {""}, {"0,1"}, {"0", "0"}, {"0 1"}, {"0\n1"}, {strings.Repeat("a", 129)}} {
		_, err := s.host(backend.Spec{GPUIDs: ids})
		require.ErrorIs(t, err, backend.ErrInvalid, "%q", ids)
	}
}

// TestBind: what a path leads to counts, where that can be seen; where it can't, what
// is written.
func TestBind(t *testing.T) {
	links := map[string]string{"/srv": "/data/srv", "/srv/cache": "/data/srv/cache", "/srv/out": "/etc", "/srv/cache/in": "/data/srv/other"}
	resolve := func(path string) (string, error) {
		if path == "/srv/loop" {
			return "", errors.New("too many links")
		}
		if to, ok := links[path]; ok {
			return to, nil
		}
		return "", fs.ErrNotExist
	}
	for _, c := range []struct {
		bind   string
		source string // as it is mounted where links are resolved
		far    string // and where they are not
		err    error
	}{
		{"/srv/cache", "/data/srv/cache", "/srv/cache", nil},
		{"/srv/cache/in", "/data/srv/other", "/srv/cache/in", nil},
		{"/srv/./x/../cache", "/data/srv/cache", "/srv/cache", nil},
		{"/srv/none", "/srv/none", "/srv/none", nil}, // the engine refuses what is not there
		{"/srv/out", "", "/srv/out", backend.ErrRefused},
		{"/srv/loop", "", "/srv/loop", backend.ErrRefused},
		{"/srvx", "", "", backend.ErrRefused},
		{"/srv/../etc", "", "", backend.ErrRefused},
		{"/", "", "", backend.ErrRefused},
		{"srv", "", "", backend.ErrInvalid},
	} {
		source, err := Settings{AllowedBinds: []string{"/srv"}, Resolve: resolve}.bind(c.bind)
		require.ErrorIs(t, err, c.err, c.bind)
		require.Equal(t, c.source, source, c.bind)
		source, err = Settings{AllowedBinds: []string{"/srv"}}.bind(c.bind)
		require.Equal(t, c.far, source, c.bind)
		require.Equal(t, c.far == "", err != nil, c.bind)
	}
}

// TestNothingIsShared: a request may be changed, and the next one is as it was.
func TestNothingIsShared(t *testing.T) {
	from := func() (backend.Spec, Settings) {
		return backend.Spec{Image: "x", Entrypoint: []string{"e"}, Command: []string{"c"}, CapAdd: []string{"A"}, CapDrop: []string{"D"},
				Tmpfs: map[string]string{"/t": ""}, GPUIDs: []string{"0"}, Mounts: []backend.Mount{{Volume: "v", Target: "/v"}}},
			Settings{OwnNetwork: "own", ExtraHosts: []string{"a:1"}, LogOptions: map[string]string{"a": "b"}, VolumeLabels: map[string]string{"owner": "me"},
				Volume: func(name string) string { return "cache-" + name }}
	}
	ask := func(spec backend.Spec, s Settings) *Request {
		r, err := Make(spec, map[string]string{"k": "v"}, s)
		require.NoError(t, err)
		return r
	}
	spec, settings := from()
	r := ask(spec, settings)
	require.True(t, r.OwnNetwork)
	require.EqualValues(t, "own", r.Host.NetworkMode)
	for _, list := range [][]string{r.Config.Entrypoint, r.Config.Cmd, r.Host.CapAdd, r.Host.CapDrop, r.Host.ExtraHosts, r.Host.DeviceRequests[0].DeviceIDs} {
		list[0] = "changed"
	}
	for _, m := range []map[string]string{r.Host.Tmpfs, r.Host.LogConfig.Config, r.Host.Mounts[0].VolumeOptions.Labels} {
		m["more"] = "changed"
	}
	require.Equal(t, ask(from()), ask(spec, settings))
	require.NotEqual(t, r, ask(spec, settings))
}

// TestCanonical: a name is written out, so that nothing else can be meant by it.
func TestCanonical(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for image, want := range map[string]string{
		"alpine": "docker.io/library/alpine:latest", "alpine:3": "docker.io/library/alpine:3", "ghcr.io/a/b": "ghcr.io/a/b:latest",
		"a@" + digest: "docker.io/library/a@" + digest, digest: digest, "abcdef012345": "docker.io/library/abcdef012345:latest",
	} {
		got, err := Canonical(image)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := Canonical("Not/An Image")
	require.ErrorIs(t, err, backend.ErrInvalid)
}
