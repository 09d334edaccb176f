package docker_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// injecting makes busybox the runner program: it must have a name that busybox
// takes for its own.
func injecting(t *testing.T) func(*docker.Config) {
	program := enginetest.Busybox(t)
	return func(c *docker.Config) {
		c.Runner = func(_ context.Context, os, arch string) (string, error) {
			if os != "linux" || arch != enginearch(t) {
				return "", fmt.Errorf("for %s-%s: %w", os, arch, fs.ErrNotExist)
			}
			return program, nil
		}
		c.RunnerPath = "/.slipway/busybox-runner"
		c.RunnerArgs = []string{"sh", "-c", "id -u; cat $SLIPWAY_CA_FILE; touch /file 2>&1 || echo read-only"}
		c.CARoots = []byte("roots of its own\n")
	}
}

// injected is a spec of a plain image.
func injected(t *testing.T) backend.Spec {
	spec := sleeper(t)
	spec.InjectRunner, spec.Entrypoint, spec.Command = true, nil, nil
	return spec
}

// volumeOf is the name of the volume that the program lies in.
func volumeOf(t *testing.T, id string) string {
	t.Helper()
	for _, m := range inspect(t, id).Mounts {
		if m.Destination == "/.slipway" {
			require.Equal(t, mount.TypeVolume, m.Type)
			return m.Name
		}
	}
	require.Fail(t, "no volume at /.slipway")
	return ""
}

func volumeExists(t *testing.T, name string) bool {
	t.Helper()
	list, err := enginetest.Engine(t).VolumeList(t.Context(), volume.ListOptions{})
	require.NoError(t, err)
	for _, v := range list.Volumes {
		if v.Name == name {
			return true
		}
	}
	return false
}

// A plain image is a runner, with a read-only root file system and as any user.
func TestInjectedRunner(t *testing.T) {
	t.Parallel()
	b := open(t, injecting(t))
	spec := injected(t)
	spec.ReadOnly, spec.User = true, "worker"
	require.NoError(t, b.Prepare(t.Context(), spec))
	text, _ := output(t, b, spec)
	require.Equal(t, "1000\nroots of its own\ntouch: /file: Read-only file system\nread-only\n", text)

	name := volumeOf(t, spec.ID)
	require.True(t, volumeExists(t, name))
	require.NoError(t, b.Remove(t.Context(), spec.ID))
	require.False(t, volumeExists(t, name), "the volume goes with the runner")
}

func TestInjectionNeedsAProgramForThePlatform(t *testing.T) {
	t.Parallel()
	b := open(t, injecting(t))
	spec := injected(t)
	spec.Arch = "riscv64"
	spec.PullPolicy = backend.PullNever
	err := b.Launch(t.Context(), spec)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "linux/riscv64")
	require.ErrorIs(t, err, fs.ErrNotExist)
	nothing(t, spec.ID)

	spec = injected(t)
	spec.Command = []string{"sh"}
	require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrInvalid, "the command is the program's")
	spec = injected(t)
	spec.Mounts = []backend.Mount{{Volume: "x", Target: "/.slipway/more"}}
	require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrInvalid, "the place is the program's")
}

// A program that can't be read leaves nothing half made.
func TestInjectionFails(t *testing.T) {
	t.Parallel()
	b := open(t, injecting(t), func(c *docker.Config) {
		c.Runner = func(context.Context, string, string) (string, error) { return filepath.Join(t.TempDir(), "none"), nil }
	})
	spec := injected(t)
	require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrInvalid)
	nothing(t, spec.ID)
}

// A launch that ended between create and copy is finished, program and all.
func TestHalfMadeInjectionIsFinished(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, injecting(t), over(proxy))
	spec := injected(t)
	proxy.Fault(onCall("PUT", "/archive", func() enginetest.Fault {
		go proxy.Cut() // and with it the way to clean up
		return enginetest.Drop
	}))
	err := b.Launch(t.Context(), spec)
	require.Error(t, err)
	require.False(t, backend.IsDefinite(err), "a container of it is there: %v", err)
	require.Equal(t, "created", string(inspect(t, spec.ID).State.Status))

	proxy.Fault(nil)
	proxy.Mend()
	r, ok := find(t, b, spec.ID)
	require.True(t, ok)
	require.Equal(t, backend.Starting, r.State)
	text, _ := output(t, b, spec)
	require.Contains(t, text, "roots of its own")
}

// Without roots in the configuration this machine's go in.
func TestSystemRoots(t *testing.T) {
	t.Parallel()
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	if _, err := os.Stat(bundle); err != nil {
		t.Skipf("no certificates for a container of the Docker engine: %v", err)
	}
	b := open(t, injecting(t), func(c *docker.Config) {
		c.CARoots = nil
		c.RunnerArgs = []string{"grep", "-c", "BEGIN CERTIFICATE", "/.slipway/ca.pem"}
	})
	text, r := output(t, b, injected(t))
	require.Equal(t, backend.Exited, r.State)
	require.Regexp(t, `^[1-9][0-9]*\n$`, text)
}
