package docker

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/hashicorp/go-hclog"
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

func TestGPUsPrivilegedAndUnbounded(t *testing.T) {
	b := offline(t, Config{PidsLimit: 10})
	h, err := b.hostConfig(backend.Spec{GPUs: 2, Privileged: true, PidsLimit: -1})
	require.NoError(t, err)
	require.Equal(t, []container.DeviceRequest{{Count: 2, Capabilities: [][]string{{"gpu"}}}}, h.DeviceRequests)
	require.True(t, h.Privileged)
	require.EqualValues(t, -1, *h.PidsLimit)
	h, err = b.hostConfig(backend.Spec{GPUs: -1})
	require.NoError(t, err)
	require.Equal(t, -1, h.DeviceRequests[0].Count)
	require.EqualValues(t, 10, *h.PidsLimit)
	require.False(t, h.Privileged)
}

func TestGPUsByID(t *testing.T) {
	b := offline(t, Config{})
	h, err := b.hostConfig(backend.Spec{GPUs: 2, GPUIDs: []string{"GPU-5d1f", "0:1"}})
	require.NoError(t, err)
	require.Equal(t, []container.DeviceRequest{{DeviceIDs: []string{"GPU-5d1f", "0:1"}, Capabilities: [][]string{{"gpu"}}}}, h.DeviceRequests)
	for _, ids := range [][]string{{"all"}, {"None"}, {""}, {"0,1"}, {"0", "0"}, {"0 1"}, {"0\n1"}, {strings.Repeat("a", 129)}} {
		_, err := b.hostConfig(backend.Spec{GPUIDs: ids})
		require.ErrorIs(t, err, backend.ErrInvalid, "%q", ids)
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

// Words of engines from 20.10 to 28, as they answered.
func TestEngineWords(t *testing.T) {
	internal := func(text string) error {
		return fmt.Errorf("%w: Error response from daemon: %s", cerrdefs.ErrInternal, text)
	}
	for text, want := range map[string]error{
		`could not select device driver "" with capabilities: [[gpu]]`:                                       backend.ErrInvalid,
		`OCI runtime create failed: runc create failed: exec: "/x": stat /x: no such file or directory`:      backend.ErrInvalid,
		`unable to find user x: no matching entries in passwd file`:                                          backend.ErrInvalid,
		`could not find an available, non-overlapping IPv4 address pool among the defaults`:                  backend.ErrExhausted,
		`all predefined address pools have been fully subnetted`:                                             backend.ErrExhausted,
		`failed to set up container networking: no available IPv4 addresses on this network's address pools`: backend.ErrExhausted,
		`mkdir /var/lib/docker/overlay2/x: no space left on device`:                                          backend.ErrExhausted,
		`OCI runtime create failed: fork/exec: resource temporarily unavailable`:                             backend.ErrExhausted,
		`toomanyrequests: You have reached your pull rate limit`:                                             backend.ErrExhausted,
		`manifest for x:y not found: manifest unknown`:                                                       backend.ErrInvalid,
		`pull access denied for x, repository does not exist or may require 'docker login'`:                  backend.ErrInvalid,
		`Get "https://registry.example/v2/": dial tcp 192.0.2.1:443: connect: connection refused`:            backend.ErrUnavailable,
		`something new`: backend.ErrUnavailable,
	} {
		err := refusal(internal(text))
		require.ErrorIs(t, err, want, text)
		require.ErrorContains(t, err, text, "the engine's own words")
	}
	require.ErrorIs(t, refusal(fmt.Errorf("%w: authorization denied by plugin", cerrdefs.ErrPermissionDenied)), backend.ErrRefused)
	require.False(t, answered(fmt.Errorf("%w: bad gateway", cerrdefs.ErrUnavailable)), "a proxy's answer is not the engine's")
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
	b := offline(t, Config{PullWindow: time.Minute})
	spec := func(p backend.PullPolicy, age time.Duration) backend.Spec {
		return backend.Spec{Image: "x", PullPolicy: p, PullMaxAge: age}
	}
	for _, p := range []backend.PullPolicy{"", backend.PullIfNotPresent, backend.PullNever} {
		require.False(t, b.pullDue(spec(p, 0)), p)
	}
	require.True(t, b.pullDue(spec(backend.PullAlways, 0)))
	require.True(t, b.pullDue(spec(backend.PullIfOlder, time.Hour)), "nothing is known of it")
	b.pulls.record(pullKey(spec("", 0)), time.Now().Add(-90*time.Second))
	require.True(t, b.pullDue(spec(backend.PullAlways, 0)), "longer ago than the window")
	require.False(t, b.pullDue(spec(backend.PullIfOlder, time.Hour)))
	require.True(t, b.pullDue(spec(backend.PullIfOlder, time.Minute)))
	require.True(t, b.pullDue(backend.Spec{Image: "x", Arch: "arm64", PullPolicy: backend.PullIfOlder, PullMaxAge: time.Hour}), "another platform")
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
