package policy

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/mount"
	"github.com/stretchr/testify/require"
)

// site is a piece of a host: what may be mounted, what may not, and ways from
// one to the other.
func site(t *testing.T) (root string) {
	// Not t.TempDir: a socket's path has 108 bytes at most.
	root, err := os.MkdirTemp("", "site")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
	root, err = filepath.EvalSymlinks(root)
	require.NoError(t, err)
	for _, folder := range []string{"allowed/sub", "allowedx", "outside", "allowed/agent/data", "docs"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, folder), 0o700))
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "allowed/agent/data/token"), []byte("x"), 0o600))
	require.NoError(t, os.Link(filepath.Join(root, "allowed/agent/data/token"), filepath.Join(root, "allowed/hard")))
	for link, to := range map[string]string{
		"allowed/link": "outside", "allowed/in": "allowed/sub", "to-allowed": "allowed", "to-data": "allowed/agent/data", "allowed/dangling": "outside/later",
	} {
		require.NoError(t, os.Symlink(filepath.Join(root, to), filepath.Join(root, link)))
	}
	listener, err := net.Listen("unix", filepath.Join(root, "allowed", "engine"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return root
}

func TestBinds(t *testing.T) {
	root := site(t)
	at := func(path string) string { return root + "/" + path }
	p, err := New(Rules{Binds: []Bind{{Path: at("allowed")}, {Path: at("docs"), ReadOnly: true}}})
	require.NoError(t, err)
	p.Protect(at("to-data"), "relative", at("allowed/agent/../hidden"), at("allowed/agent/data/token"))
	review := func(source string, readOnly bool) error {
		r := request()
		r.Host.Mounts = append(r.Host.Mounts, mount.Mount{Type: mount.TypeBind, Source: source, Target: "/host", ReadOnly: readOnly})
		return p.Review(r)
	}
	for _, path := range []string{"allowed/sub", "allowed/in", "allowed/not/there/yet", "allowed/agentx"} {
		require.NoError(t, review(at(path), false), path)
	}
	require.NoError(t, review(at("docs"), true))
	require.ErrorContains(t, review(at("docs"), false), "read-only")
	for _, path := range []string{
		"outside", "allowedx", "allowed/../outside", "allowed/link", "allowed/link/below", "allowed/dangling", "allowed/engine",
		"allowed", "allowed/agent", "allowed/agent/data", "allowed/agent/data/token", "to-data/token", "to-allowed/agent", "to-allowed/sub", "allowed/hard", "allowed/hidden/x", "allowed/sub/", "allowed//sub",
	} {
		var refusal *Refusal
		require.ErrorAs(t, review(at(path), true), &refusal, path)
		require.Equal(t, "binds", refusal.Rule, path)
	}
	require.ErrorContains(t, review(at("allowed"), false), "give away", "the agent's data is below it")
	require.Equal(t, []string{at("allowed"), at("docs")}, p.Binds())

	linked, err := New(Rules{Binds: []Bind{{Path: at("to-allowed")}}})
	require.NoError(t, err)
	p = linked
	require.NoError(t, review(at("to-allowed/sub"), false), "a folder that is allowed by another name")
	require.NoError(t, review(at("allowed/sub"), false), "the backend sends what the path leads to")
	require.Error(t, review(at("to-allowed/link"), false))
}

func TestImpossibleBinds(t *testing.T) {
	for path, words := range map[string]string{
		"/": "all of the host", "etc": "clean absolute", "/a/../b": "clean absolute", "/a/": "clean absolute", "": "clean absolute",
		"/var/run/docker.sock": "gives away", "/var/lib/docker/volumes": "gives away", "/run/containerd/s": "gives away",
	} {
		_, err := New(Rules{Binds: []Bind{{Path: path}}})
		require.ErrorContains(t, err, words, "%q", path)
	}
}
