package docker

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/backend"
)

func offline(t *testing.T, c Config) *Backend {
	t.Helper()
	if c.Owner == "" {
		c.Owner = "me"
	}
	c.Host = "unix:///nowhere.sock"
	b, err := New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func TestConfigNamesTheField(t *testing.T) {
	for field, c := range map[string]Config{
		"Owner":        {},
		"NamePrefix":   {Owner: "me", NamePrefix: "/x"},
		"RunnerPath":   {Owner: "me", RunnerPath: "/runner"},
		"AllowedBinds": {Owner: "me", AllowedBinds: []string{"relative"}},
		"PullTimeout":  {Owner: "me", PullTimeout: -1},
		"MaxRunners":   {Owner: "me", MaxRunners: -1},
		"Schema":       {Owner: "me", Schema: Schema{Owner: "x", Runner: "x"}},
	} {
		_, err := New(c)
		require.ErrorContains(t, err, "Config."+field)
	}
	_, err := New(Config{Owner: "me", Host: "no host"})
	require.ErrorContains(t, err, "no host")
	_, err = New(Config{Owner: "me", Host: "tcp://127.0.0.1:1", CertPath: t.TempDir()})
	require.ErrorContains(t, err, "certificates")
}

// The labels come back as they were given, whatever the schema, and whatever
// labels the image brings along.
func TestSchemaRoundTrip(t *testing.T) {
	key := rapid.OneOf(
		rapid.StringMatching(`[a-z0-9._-]{1,64}`),
		rapid.SampledFrom([]string{"owner", "runner", "keys", "label.owner", "label.label.owner", "template", "x.template", "template_key"}),
	)
	schemas := []Schema{
		{},
		{Prefix: "shipfox.", Owner: "shipfox.provisioner_id", Runner: "shipfox.provider_runner_id",
			Names: map[string]string{"template": "shipfox.template_key", "labels": "shipfox.labels", "owner": "x.template"}},
		{Prefix: "x.", Names: map[string]string{"a": "x.b", "b": "x.a"}},
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(schemas).Draw(t, "schema").withDefaults()
		require.NoError(t, s.validate())
		given := rapid.MapOf(key, rapid.String()).Draw(t, "labels")
		fromImage := rapid.MapOf(key, rapid.Just("from the image")).Draw(t, "image")

		encoded, err := s.encode("me", "the-id", given)
		require.NoError(t, err)
		require.Len(t, encoded, len(given)+3, "two keys share a label")
		all := map[string]string{}
		for k := range fromImage {
			all[s.name(k)] = "from the image"
		}
		maps.Copy(all, encoded) // the container's own win
		id, got, ok := s.decode("me", all)
		require.True(t, ok)
		require.Equal(t, "the-id", id)
		require.Equal(t, given, got)
		_, _, ok = s.decode("m", all)
		require.False(t, ok, "another owner")
	})
}

func TestShipfoxSchema(t *testing.T) {
	s := Schema{Prefix: "shipfox.", Owner: "shipfox.provisioner_id", Runner: "shipfox.provider_runner_id",
		Names: map[string]string{"template": "shipfox.template_key", "reservation": "shipfox.reservation_id"}}.withDefaults()
	labels, err := s.encode("p1", "r1", map[string]string{"template": "small", "reservation": "res", "runner_instance_id": "i"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"shipfox.provisioner_id": "p1", "shipfox.provider_runner_id": "r1", "shipfox.template_key": "small",
		"shipfox.reservation_id": "res", "shipfox.runner_instance_id": "i", "shipfox.keys": "reservation,runner_instance_id,template",
	}, labels)
}

func TestBadLabels(t *testing.T) {
	for _, labels := range []map[string]string{{"": "x"}, {"UPPER": "x"}, {"a,b": "x"}, {strings.Repeat("a", 65): "x"}, {"a": "\xff"}} {
		_, err := Schema{}.withDefaults().encode("me", "id", labels)
		require.Error(t, err, "%v", labels)
	}
}

func TestInvalidSpecsNeverLeave(t *testing.T) {
	b := offline(t, Config{})
	good := backend.Spec{ID: "01a200c5-3ad1-7ca8-a239-d6c4451394e8", Image: "x"}
	_, err := b.job(good)
	require.NoError(t, err)
	for name, change := range map[string]func(*backend.Spec){
		"id":             func(s *backend.Spec) { s.ID = strings.ToUpper(s.ID) },
		"image":          func(s *backend.Spec) { s.Image = "" },
		"env name":       func(s *backend.Spec) { s.Env = map[string]string{"A=B": "x"} },
		"env value":      func(s *backend.Spec) { s.Env = map[string]string{"A": "x\x00"} },
		"cpu":            func(s *backend.Spec) { s.CPU = -1 },
		"memory":         func(s *backend.Spec) { s.Memory = -1 },
		"shm":            func(s *backend.Spec) { s.ShmSize = -1 },
		"gpus":           func(s *backend.Spec) { s.GPUs = -2 },
		"pids":           func(s *backend.Spec) { s.PidsLimit = -2 },
		"policy":         func(s *backend.Spec) { s.PullPolicy = "sometimes" },
		"age":            func(s *backend.Spec) { s.PullPolicy = backend.PullIfOlder },
		"target":         func(s *backend.Spec) { s.Mounts = []backend.Mount{{Volume: "v", Target: "/a/../b"}} },
		"root":           func(s *backend.Spec) { s.Mounts = []backend.Mount{{Volume: "v", Target: "/"}} },
		"both":           func(s *backend.Spec) { s.Mounts = []backend.Mount{{Volume: "v", Bind: "/b", Target: "/a"}} },
		"neither":        func(s *backend.Spec) { s.Mounts = []backend.Mount{{Target: "/a"}} },
		"volume is path": func(s *backend.Spec) { s.Mounts = []backend.Mount{{Volume: "/etc", Target: "/a"}} },
		"relative bind":  func(s *backend.Spec) { s.Mounts = []backend.Mount{{Bind: "etc", Target: "/a"}} },
		"nothing to run": func(s *backend.Spec) { s.InjectRunner = true },
		"label's key":    func(s *backend.Spec) { s.Labels = map[string]string{"A": "x"} },
	} {
		t.Run(name, func(t *testing.T) {
			spec := good
			change(&spec)
			require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrInvalid)
		})
	}
}

func TestGPUList(t *testing.T) {
	require.Equal(t, []GPU{
		{ID: "GPU-11", Name: "NVIDIA H100 80GB HBM3"},
		{ID: "MIG-22", Name: "NVIDIA A100-SXM4-40GB MIG 3g.20gb"},
		{ID: "MIG-33", Name: "NVIDIA A100-SXM4-40GB MIG 1c.2g.10gb"},
		{ID: "GPU-55", Name: "NVIDIA L4 (special)"},
	}, parseGPUs(`GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-11)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-44)
  MIG 3g.20gb     Device  0: (UUID: MIG-22)
  MIG 1c.2g.10gb  Device  1: (UUID: MIG-33)
GPU 2: NVIDIA L4 (special) (UUID: GPU-55)
`))
	require.Empty(t, parseGPUs("No devices found.\n"))
	folder := t.TempDir()
	for _, name := range []string{"nvidia0", "nvidia3", "nvidiactl", "nvidia0-x"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), nil, 0o600))
	}
	require.Equal(t, []GPU{{ID: "0"}, {ID: "3"}}, devices(filepath.Join(folder, "nvidia[0-9]*")))
}

func TestStates(t *testing.T) {
	at := "2026-01-02T03:04:05.6Z"
	state := func(s container.State) container.InspectResponse {
		return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{Created: at, State: &s}}
	}
	never := "0001-01-01T00:00:00Z"
	for name, c := range map[string]struct {
		in    container.State
		state backend.State
		code  any
	}{
		"created":          {container.State{Status: "created", StartedAt: never, FinishedAt: never}, backend.Starting, nil},
		"failed to start":  {container.State{Status: "created", StartedAt: never, FinishedAt: never, ExitCode: 127}, backend.Starting, nil},
		"running":          {container.State{Status: "running", StartedAt: at, FinishedAt: never}, backend.Running, nil},
		"paused":           {container.State{Status: "paused", StartedAt: at, FinishedAt: never}, backend.Running, nil},
		"restarting":       {container.State{Status: "restarting", StartedAt: at, FinishedAt: at}, backend.Running, nil},
		"exited":           {container.State{Status: "exited", StartedAt: at, FinishedAt: at}, backend.Exited, 0},
		"failed":           {container.State{Status: "exited", StartedAt: at, FinishedAt: at, ExitCode: 3}, backend.Failed, 3},
		"being removed":    {container.State{Status: "removing", StartedAt: at, FinishedAt: at, ExitCode: 137}, backend.Failed, 137},
		"dead":             {container.State{Status: "dead", StartedAt: at, FinishedAt: at, ExitCode: 1}, backend.Failed, 1},
		"dead, never born": {container.State{Status: "dead", StartedAt: never, FinishedAt: never}, backend.Failed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var r backend.Runner
			detailOf(state(c.in)).fill(&r)
			require.Equal(t, c.state, r.State)
			if c.code == nil {
				require.Nil(t, r.ExitCode)
			} else {
				require.Equal(t, c.code, *r.ExitCode)
			}
			require.Equal(t, r.State.Ended() && c.code != nil, !r.Finished.IsZero())
		})
	}
	ended := detailOf(state(container.State{Status: "exited", StartedAt: "2026-01-02T03:04:05.7Z", FinishedAt: at}))
	require.Equal(t, ended.started, ended.finished, "times must not go backwards")
}

func TestEnvironmentChoosesTheHost(t *testing.T) {
	set := func(host, path, verify string) {
		t.Setenv("DOCKER_HOST", host)
		t.Setenv("DOCKER_CERT_PATH", path)
		t.Setenv("DOCKER_TLS_VERIFY", verify)
	}
	set("tcp://192.0.2.1:2376", "/certs", "1")
	require.Equal(t, address{host: "tcp://192.0.2.1:2376", certPath: "/certs"}, resolve(Config{}))
	require.Equal(t, address{host: "unix:///x"}, resolve(Config{Host: "unix:///x"}), "what is configured wins, whole")
	set("tcp://192.0.2.1:2376", "/certs", "")
	require.Equal(t, address{host: "tcp://192.0.2.1:2376", certPath: "/certs", skipVerify: true}, resolve(Config{}))
	set("", "", "")
	require.Equal(t, address{host: "unix:///var/run/docker.sock"}, resolve(Config{}))
	require.True(t, resolve(Config{}).local())
}

func TestIDLocks(t *testing.T) {
	var locks idLocks
	var order []int
	unlock, err := locks.lock(t.Context(), "a")
	require.NoError(t, err)
	other, err := locks.lock(t.Context(), "b")
	require.NoError(t, err, "another id")
	other()
	next := make(chan struct{})
	go func() {
		defer close(next)
		again, err := locks.lock(t.Context(), "a")
		if err == nil {
			order = append(order, 2)
			again()
		}
	}()
	order = append(order, 1)
	unlock()
	<-next
	require.True(t, slices.Equal(order, []int{1, 2}), "%v", order)
	require.Empty(t, locks.held)
}
