package policy_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent/policy"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// What the backend makes of ordinary specs, with all of its and the engine's
// defaults, passes the default policy, and what must not run does not.
func TestOnAnEngine(t *testing.T) {
	engine, busybox := enginetest.Engine(t), enginetest.Busybox(t)
	p := policy.Default()
	b, err := docker.New(docker.Config{
		Owner: enginetest.Owner(t), Host: engine.DaemonHost(), Review: p.Review, MaxRunners: p.MaxRunners(), AllowedBinds: []string{"/"}, StopGrace: -1,
		Runner:     func(context.Context, string, string) (string, error) { return busybox, nil },
		RunnerPath: "/.slipway/busybox", RunnerArgs: []string{"sleep", "600"},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.Purge(context.WithoutCancel(t.Context())))
		require.NoError(t, b.Close())
	})
	spec := func(change func(*backend.Spec)) backend.Spec {
		s := backend.Spec{
			ID: uuid.Must(uuid.NewV7()).String(), Image: enginetest.BusyboxImage(t), PullPolicy: backend.PullNever, Network: "none",
			Labels: map[string]string{"template": "x"}, Env: map[string]string{"A": "1"}, InjectRunner: true, CPU: 0.5, Memory: 64 << 20, ShmSize: 1 << 20, PidsLimit: 100,
			Runtime: "runc", Tmpfs: map[string]string{"/scratch": "size=1m"}, CapDrop: []string{"NET_RAW"}, ReadOnly: true,
			Mounts: []backend.Mount{{Volume: "cache", Target: "/cache"}},
		}
		change(&s)
		return s
	}
	require.NoError(t, b.Launch(t.Context(), spec(func(*backend.Spec) {})))
	require.NoError(t, b.Launch(t.Context(), spec(func(s *backend.Spec) { s.AllowNewPrivileges = true })), "with a volume that is there")
	folder := t.TempDir()
	require.NoError(t, os.Symlink("/", filepath.Join(folder, "link")))
	for rule, change := range map[string]func(*backend.Spec){
		"privileged":   func(s *backend.Spec) { s.Privileged = true },
		"networks":     func(s *backend.Spec) { s.Network = "host" },
		"capabilities": func(s *backend.Spec) { s.CapAdd = []string{"SYS_ADMIN"} },
		"binds":        func(s *backend.Spec) { s.Mounts = []backend.Mount{{Bind: "/var/run/docker.sock", Target: "/s"}} },
		"binds ": func(s *backend.Spec) {
			s.Mounts = []backend.Mount{{Bind: filepath.Join(folder, "link/etc"), Target: "/s"}}
		},
	} {
		var refusal *policy.Refusal
		s := spec(change)
		err := b.Launch(t.Context(), s)
		require.ErrorIs(t, err, backend.ErrRefused, rule)
		require.ErrorAs(t, err, &refusal, rule)
		require.Contains(t, rule, refusal.Rule)
		_, err = engine.ContainerInspect(t.Context(), "slipway-"+s.ID)
		require.ErrorContains(t, err, "No such container")
	}
}
