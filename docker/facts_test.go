package docker_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

func TestFacts(t *testing.T) {
	tools := t.TempDir()
	const list = "GPU 0: NVIDIA A100 (UUID: GPU-5d1f)\\nGPU 1: NVIDIA L4 (UUID: GPU-77aa)\\n"
	require.NoError(t, os.WriteFile(filepath.Join(tools, "nvidia-smi"), []byte("#!/bin/sh\n[ \"$1\" = -L ] && printf '"+list+"'\n"), 0o700))
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))

	b := open(t)
	f, err := b.Facts(t.Context())
	require.NoError(t, err)
	info, err := enginetest.Engine(t).Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, info.ID, f.EngineID)
	require.NotEmpty(t, f.EngineID)
	require.Equal(t, info.ServerVersion, f.Version)
	require.Equal(t, "linux", f.OS)
	require.Equal(t, enginearch(t), f.Arch, "in Go's words")
	require.Positive(t, f.CPUs)
	require.Greater(t, f.Memory, int64(1<<26))
	require.Contains(t, f.Runtimes, f.DefaultRuntime)
	require.True(t, slices.IsSorted(f.Runtimes))
	require.Equal(t, info.DockerRootDir, f.DataRoot)
	require.Equal(t, []docker.GPU{{ID: "GPU-5d1f", Name: "NVIDIA A100"}, {ID: "GPU-77aa", Name: "NVIDIA L4"}}, f.GPUs)

	proxy := enginetest.NewProxy(t)
	away := open(t, over(proxy))
	t.Cleanup(proxy.Mend)
	proxy.Cut()
	_, err = away.Facts(t.Context())
	require.ErrorIs(t, err, backend.ErrUnavailable)
}

// The runtime is what the spec names, and one that the engine does not know is
// refused in the engine's words.
func TestRuntimeByName(t *testing.T) {
	t.Parallel()
	var r reviewing
	b := open(t, r.set)
	spec := sleeper(t)
	spec.Runtime = "slipway-isolated"
	err := b.Launch(t.Context(), spec)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "slipway-isolated", "the engine's words")
	require.Equal(t, "slipway-isolated", r.last(t).Host.Runtime, "what is sent")
	nothing(t, spec.ID)
	spec.Runtime = "runc"
	require.NoError(t, b.Launch(t.Context(), spec))
	require.Equal(t, "runc", inspect(t, spec.ID).HostConfig.Runtime)
}
