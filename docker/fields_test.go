package docker_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// A spec with nothing set: what isolates is there all the same.
func TestDefaultsIsolate(t *testing.T) {
	t.Parallel()
	b := open(t, ownNetwork)
	spec := shell(t, `grep NoNewPrivs /proc/self/status; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; cat /etc/hosts`)
	text, _ := output(t, b, spec)
	require.Regexp(t, `NoNewPrivs:\s+1`, text)
	require.Contains(t, text, "\n4096\n")
	require.Contains(t, text, "host.docker.internal")

	h := inspect(t, spec.ID).HostConfig
	require.Equal(t, container.RestartPolicyDisabled, h.RestartPolicy.Name)
	require.False(t, h.AutoRemove)
	require.False(t, h.Privileged)
	require.Equal(t, "local", h.LogConfig.Type, "a log that bounds itself")
	require.True(t, strings.HasPrefix(string(h.NetworkMode), "slipway-net-"), "network %s", h.NetworkMode)
}

// Every field of the spec reaches the engine.
func TestEveryField(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "file"), []byte("from the host"), 0o600))
	b := open(t, func(c *docker.Config) {
		c.AllowedBinds = []string{folder}
		c.LogDriver, c.LogOptions = "json-file", map[string]string{"max-size": "1m"}
		c.ExtraHosts = []string{"builder.example:192.0.2.1"}
		c.Network = "bridge"
	})
	spec := sleeper(t)
	spec.Env = map[string]string{"B": "two", "A": "one = 1"}
	spec.OS, spec.Arch = "linux", enginearch(t)
	spec.User = "worker"
	spec.CPU, spec.Memory, spec.ShmSize, spec.PidsLimit = 0.5, 64<<20, 8<<20, 77
	spec.Runtime, spec.Network = "runc", "none"
	spec.Tmpfs = map[string]string{"/scratch": "size=1m"}
	spec.CapAdd, spec.CapDrop = []string{"SYS_NICE"}, []string{"CAP_NET_RAW"}
	spec.ReadOnly, spec.AllowNewPrivileges = true, true
	spec.Mounts = []backend.Mount{
		{Volume: "go-cache", Target: "/cache"},
		{Bind: folder, Target: "/host", ReadOnly: true},
	}
	require.NoError(t, b.Launch(t.Context(), spec))

	c := inspect(t, spec.ID)
	require.Equal(t, []string{"A=one = 1", "B=two"}, c.Config.Env[:2])
	require.Equal(t, "worker", c.Config.User)
	require.Equal(t, []string{"/bin/sleep"}, []string(c.Config.Entrypoint))
	h := c.HostConfig
	require.EqualValues(t, 500_000_000, h.NanoCPUs)
	require.EqualValues(t, 64<<20, h.Memory)
	require.EqualValues(t, 64<<20, h.MemorySwap, "swap must not lift the limit")
	require.EqualValues(t, 8<<20, h.ShmSize)
	require.EqualValues(t, 77, *h.PidsLimit)
	require.Equal(t, "runc", h.Runtime)
	require.EqualValues(t, "none", h.NetworkMode)
	require.Equal(t, map[string]string{"/scratch": "size=1m"}, h.Tmpfs)
	require.Equal(t, []string{"CAP_SYS_NICE"}, []string(h.CapAdd))
	require.Equal(t, []string{"CAP_NET_RAW"}, []string(h.CapDrop))
	require.True(t, h.ReadonlyRootfs)
	require.Empty(t, h.SecurityOpt)
	require.Equal(t, "json-file", h.LogConfig.Type)
	require.Equal(t, []string{"builder.example:192.0.2.1"}, h.ExtraHosts)
	require.Equal(t, mount.TypeVolume, h.Mounts[0].Type)
	require.Equal(t, folder, h.Mounts[1].Source)
	require.True(t, h.Mounts[1].ReadOnly)
}

func enginearch(t *testing.T) string {
	info, err := enginetest.Engine(t).ImageInspect(t.Context(), enginetest.BusyboxImage(t))
	require.NoError(t, err)
	return info.Architecture
}

// A cache volume outlives its runner, is the owner's alone, and goes with Purge.
func TestCacheVolume(t *testing.T) {
	t.Parallel()
	owners := map[string]bool{}
	note := func(c *docker.Config) { owners[c.Owner] = true }
	b, other := open(t, note), open(t, note)
	cached := func(text string) backend.Spec {
		spec := shell(t, text)
		spec.Mounts = []backend.Mount{{Volume: "cache", Target: "/cache"}}
		return spec
	}
	first := cached("echo kept > /cache/file")
	_, _ = output(t, b, first)
	require.NoError(t, b.Remove(t.Context(), first.ID))

	text, _ := output(t, b, cached("cat /cache/file"))
	require.Equal(t, "kept\n", text)
	text, _ = output(t, other, cached("ls /cache"))
	require.Empty(t, text, "another owner's cache of the same name")

	require.NoError(t, b.Purge(t.Context()))
	list, err := enginetest.Engine(t).VolumeList(t.Context(), volume.ListOptions{})
	require.NoError(t, err)
	var left []string
	for _, v := range list.Volumes {
		if owners[v.Labels["slipway.owner"]] {
			left = append(left, v.Name)
		}
	}
	require.Len(t, left, 1, "Purge takes the owner's volume and leaves the other's")
}

// The engine refuses what it can't do: the words are its own, the class is
// definite, and nothing stays.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := open(t)
	for name, c := range map[string]struct {
		change func(*backend.Spec)
		words  string
	}{
		"gpus":       {func(s *backend.Spec) { s.GPUs = -1 }, "device driver"},
		"runtime":    {func(s *backend.Spec) { s.Runtime = "no-such-runtime" }, "no-such-runtime"},
		"entrypoint": {func(s *backend.Spec) { s.Entrypoint = []string{"/no/such/program"} }, "/no/such/program"},
		"user":       {func(s *backend.Spec) { s.User = "nobody-here" }, "nobody-here"},
		"network":    {func(s *backend.Spec) { s.Network = "no-such-network" }, "no-such-network"},
		"image":      {func(s *backend.Spec) { s.Image = "slipway-test:no-such-image" }, "No such image"},
		"capability": {func(s *backend.Spec) { s.CapAdd = []string{"FLY"} }, "FLY"},
		"platform":   {func(s *backend.Spec) { s.Arch = "s390x" }, "s390x"},
		"memory":     {func(s *backend.Spec) { s.Memory = 1024 }, "memory"},
		"tmpfs":      {func(s *backend.Spec) { s.Tmpfs = map[string]string{"/x": "no-such-option"} }, "no-such-option"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := sleeper(t)
			spec.Env = map[string]string{"TOKEN": "canary-7d0e"}
			c.change(&spec)
			err := b.Launch(t.Context(), spec)
			require.ErrorIs(t, err, backend.ErrInvalid)
			require.ErrorContains(t, err, c.words)
			require.NotContains(t, err.Error(), "canary-7d0e")
			nothing(t, spec.ID)
		})
	}
}

// What the host's owner allows is checked on what a path leads to, not on how it
// is written.
func TestBindOutsideIsRefused(t *testing.T) {
	t.Parallel()
	allowed, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(allowed, "link")))
	b := open(t, func(c *docker.Config) { c.AllowedBinds = []string{allowed} })
	for name, bind := range map[string]string{
		"elsewhere":       outside,
		"dots":            allowed + "/../" + filepath.Base(outside),
		"a longer name":   allowed + "x",
		"through a link":  filepath.Join(allowed, "link"),
		"below a link":    filepath.Join(allowed, "link", "deeper", ".."),
		"the parent":      filepath.Dir(allowed),
		"all of the host": "/",
	} {
		t.Run(name, func(t *testing.T) {
			spec := sleeper(t)
			spec.Mounts = []backend.Mount{{Bind: bind, Target: "/host"}}
			require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrRefused)
			nothing(t, spec.ID)
		})
	}
	spec := sleeper(t)
	spec.Mounts = []backend.Mount{{Bind: filepath.Join(allowed, "sub", ".."), Target: "/host"}}
	require.NoError(t, b.Launch(t.Context(), spec))
}

// What is invalid shows before a registration is spent on it.
func TestPrepareFindsWhatIsInvalid(t *testing.T) {
	t.Parallel()
	b := open(t)
	spec := sleeper(t)
	spec.ID = ""
	require.NoError(t, b.Prepare(t.Context(), spec))
	for name, change := range map[string]func(*backend.Spec){
		"image":       func(s *backend.Spec) { s.Image = "slipway-test:no-such-image" },
		"pull policy": func(s *backend.Spec) { s.PullPolicy = "sometimes" },
		"mount":       func(s *backend.Spec) { s.Mounts = []backend.Mount{{Target: "/x"}} },
		"platform":    func(s *backend.Spec) { s.Arch = "s390x" },
		"injection":   func(s *backend.Spec) { s.InjectRunner = true },
	} {
		t.Run(name, func(t *testing.T) {
			bad := spec
			change(&bad)
			require.ErrorIs(t, b.Prepare(t.Context(), bad), backend.ErrInvalid)
		})
	}
}

// The environment is told to the engine, and to nobody else.
func TestEnvironmentIsNotTold(t *testing.T) {
	t.Parallel()
	const canary = "canary-91be"
	var out bytes.Buffer
	b := open(t, func(c *docker.Config) {
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Trace})
	})
	spec := sleeper(t)
	spec.Env = map[string]string{"TOKEN": canary}
	require.NoError(t, b.Launch(t.Context(), spec))
	require.Contains(t, inspect(t, spec.ID).Config.Env, "TOKEN="+canary)
	require.NotContains(t, fmt.Sprint(inspect(t, spec.ID).Config.Labels), canary)
	r, ok := find(t, b, spec.ID)
	require.True(t, ok)
	require.NotContains(t, fmt.Sprintf("%+v", r), canary)

	bad := spec
	bad.ID, bad.Entrypoint = newID(), []string{"/none"}
	require.NotContains(t, b.Launch(t.Context(), bad).Error(), canary)
	bad.Env = map[string]string{"TOKEN": canary + "\x00"}
	require.NotContains(t, b.Launch(t.Context(), bad).Error(), canary)
	require.NotContains(t, b.Launch(t.Context(), spec).Error(), canary, "exists")
	require.NotContains(t, out.String(), canary)
}
