package policy

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/docker"
)

// request is an ordinary one, as the backend makes it of a template that asks
// for most of what the default policy allows.
func request() docker.Request {
	pids := int64(4096)
	return docker.Request{
		Name: "slipway-01a200c5-3ad1-7ca8-a239-d6c4451394e8", Image: "docker.io/library/alpine:3.22",
		InjectRunner: true, DefaultNetwork: "slipway-net-0123456789ab", VolumePrefix: "slipway-cache-0123456789ab-",
		Config: &container.Config{
			Image: "docker.io/library/alpine:3.22", User: "1000:1000", Env: []string{"A=1"}, Entrypoint: []string{"/.slipway/slipway-runner"},
			Cmd: []string{"run"}, Labels: map[string]string{"slipway.owner": "me", "slipway.template": "x"}, StopSignal: "SIGTERM",
		},
		Host: &container.HostConfig{
			NetworkMode:   "slipway-net-0123456789ab",
			RestartPolicy: container.RestartPolicy{Name: "no"},
			LogConfig:     container.LogConfig{Type: "local", Config: map[string]string{"max-size": "1m"}},
			ExtraHosts:    []string{"host.docker.internal:host-gateway", "builder.example:192.0.2.1"},
			Runtime:       "sysbox-runc", ShmSize: 1 << 20, Tmpfs: map[string]string{"/scratch": "size=64m,mode=1777"},
			CapAdd: []string{"CAP_NET_RAW"}, CapDrop: []string{"ALL"}, ReadonlyRootfs: true, SecurityOpt: []string{"no-new-privileges"},
			Mounts: []mount.Mount{
				{Type: mount.TypeVolume, Source: "slipway-cache-0123456789ab-go", Target: "/cache", VolumeOptions: &mount.VolumeOptions{Labels: map[string]string{"slipway.owner": "me"}}},
				{Type: mount.TypeVolume, Target: "/.slipway", VolumeOptions: &mount.VolumeOptions{NoCopy: true}},
			},
			Resources: container.Resources{
				NanoCPUs: 2e9, Memory: 1 << 30, MemorySwap: 1 << 30, PidsLimit: &pids,
				DeviceRequests: []container.DeviceRequest{{DeviceIDs: []string{"GPU-1"}, Capabilities: [][]string{{"gpu"}}}},
			},
		},
		Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64"},
		Network: &network.CreateRequest{Name: "slipway-net-0123456789ab", CreateOptions: network.CreateOptions{
			Driver: "bridge", Labels: map[string]string{"slipway.owner": "me"},
			Options: map[string]string{"com.docker.network.bridge.enable_icc": "false", "com.docker.network.bridge.name": "slw0123456789ab"},
		}},
		Volumes: []volume.Volume{{Name: "slipway-cache-0123456789ab-go", Driver: "local", Mountpoint: "/var/lib/docker/volumes/x", Scope: "local"}},
	}
}

// What templates ask for is allowed without any agent.yaml.
func TestDefaultAllowsTheOrdinary(t *testing.T) {
	require.NoError(t, Default().Review(request()))
	bare := docker.Request{Name: "x", Image: "docker.io/library/x:latest", DefaultNetwork: "n", Config: &container.Config{Image: "docker.io/library/x:latest"},
		Host: &container.HostConfig{NetworkMode: "n"}}
	require.NoError(t, Default().Review(bare))
	bare.Host.NetworkMode = "none"
	require.NoError(t, Default().Review(bare))
	require.Error(t, Default().Review(docker.Request{}), "no request at all")
	require.True(t, Default().AllowsUpdate())
	require.Zero(t, Default().MaxRunners())
	require.Empty(t, Default().Binds())
}

// refusals are what the default policy refuses. With remedy, which is what the
// refusal says, it is allowed; where it is empty nothing helps.
var refusals = map[string]struct {
	rule, remedy string
	change       func(*docker.Request)
}{
	"privileged":              {"privileged", "privileged: true", func(r *docker.Request) { r.Host.Privileged = true }},
	"another network":         {"networks", `networks: ["bridge"]`, func(r *docker.Request) { into(r, "bridge") }},
	"the engine's default":    {"networks", `networks: ["default"]`, func(r *docker.Request) { into(r, "default") }},
	"no network named":        {"networks", ``, func(r *docker.Request) { into(r, "") }},
	"the host's network":      {"networks", "", func(r *docker.Request) { into(r, "host") }},
	"a container's network":   {"networks", "", func(r *docker.Request) { into(r, "container:db") }},
	"a container's, odd":      {"networks", "", func(r *docker.Request) { into(r, "container") }},
	"host as the agent's own": {"networks", "", func(r *docker.Request) { into(r, "host"); r.DefaultNetwork = "host" }},
	"a network with traffic":  {"networks", "", func(r *docker.Request) { r.Network.Options["com.docker.network.bridge.enable_icc"] = "true" }},
	"a network of the lan":    {"networks", "", func(r *docker.Request) { r.Network.Driver = "macvlan" }},
	"a network with more":     {"networks", "", func(r *docker.Request) { r.Network.Options["parent"] = "eth0" }},
	"a network of a name":     {"networks", "", func(r *docker.Request) { r.Network.Name = "other" }},
	"a capability":            {"capabilities", "capabilities: [SYS_ADMIN]", func(r *docker.Request) { r.Host.CapAdd = []string{"CAP_SYS_ADMIN"} }},
	"a capability, lower":     {"capabilities", "capabilities: [SYS_ADMIN]", func(r *docker.Request) { r.Host.CapAdd = []string{"cap_sys_admin"} }},
	"every capability":        {"capabilities", "capabilities: [ALL]", func(r *docker.Request) { r.Host.CapAdd = []string{"all"} }},
	"no capability":           {"capabilities", "", func(r *docker.Request) { r.Host.CapAdd = []string{"SYS ADMIN"} }},
	"a runtime's path":        {"runtimes", "", func(r *docker.Request) { r.Host.Runtime = "/usr/bin/evil" }},
	"a runtime's shim":        {"runtimes", `runtimes: ["io.containerd.evil.v1"]`, func(r *docker.Request) { r.Host.Runtime = "io.containerd.evil.v1" }},
	"no seccomp":              {"security", "", func(r *docker.Request) { r.Host.SecurityOpt = []string{"no-new-privileges", "seccomp=unconfined"} }},
	"no apparmor":             {"security", "", func(r *docker.Request) { r.Host.SecurityOpt = []string{"apparmor=unconfined"} }},
	"privileges not not new":  {"security", "", func(r *docker.Request) { r.Host.SecurityOpt = []string{"no-new-privileges:false"} }},
	"the engine's socket":     {"binds", "", func(r *docker.Request) { bind(r, "/var/run/docker.sock") }},
	"all of the host":         {"binds", "", func(r *docker.Request) { bind(r, "/") }},
	"dots":                    {"binds", "", func(r *docker.Request) { bind(r, "/srv/../etc") }},
	"a relative path":         {"binds", "", func(r *docker.Request) { bind(r, "etc") }},
	"the socket's folder":     {"binds", "", func(r *docker.Request) { bind(r, "/run") }},
	"the agent's data":        {"binds", "", func(r *docker.Request) { bind(r, "/var/lib/slipway-agent/token") }},
	"a bind by its old name":  {"field", "", func(r *docker.Request) { r.Host.Binds = []string{"/etc:/etc"} }},
	"another's volume":        {"volumes", "", func(r *docker.Request) { r.Host.Mounts[0].Source = "postgres" }},
	"a path as volume":        {"volumes", "", func(r *docker.Request) { r.Host.Mounts[0].Source = r.VolumePrefix + "/../../etc" }},
	"a path for a volume":     {"volumes", "", func(r *docker.Request) { r.Host.Mounts[0].Source = "/etc" }},
	"a volume's driver":       {"field", "", func(r *docker.Request) { r.Host.Mounts[0].VolumeOptions.DriverConfig = &mount.Driver{Name: "local"} }},
	"a volume's options":      {"volumes", "", func(r *docker.Request) { r.Volumes[0].Options = map[string]string{"o": "bind", "device": "/"} }},
	"a plugin's volume":       {"volumes", "", func(r *docker.Request) { r.Volumes[0].Driver = "sshfs" }},
	"a mount of an image":     {"request", "", func(r *docker.Request) { r.Host.Mounts[0].Type = mount.TypeImage }},
	"a mount's propagation": {"field", "", func(r *docker.Request) {
		r.Host.Mounts[0].BindOptions = &mount.BindOptions{Propagation: mount.PropagationRShared}
	}},
	"a mount over the root": {"request", "", func(r *docker.Request) { r.Host.Mounts[0].Target = "/" }},
	"a tmpfs option":        {"request", "", func(r *docker.Request) { r.Host.Tmpfs["/scratch"] = "size=1m,dev" }},
	"a tmpfs of dots":       {"request", "", func(r *docker.Request) { r.Host.Tmpfs["/a/../b"] = "" }},
	"a device that is none": {"devices", "", func(r *docker.Request) { r.Host.DeviceRequests[0].Capabilities = [][]string{{"gpu", "utility"}} }},
	"all by an id":          {"gpus", "", func(r *docker.Request) { r.Host.DeviceRequests[0].DeviceIDs = []string{"all"} }},
	"two in one id":         {"gpus", "", func(r *docker.Request) { r.Host.DeviceRequests[0].DeviceIDs = []string{"0,1"} }},
	"a device's driver":     {"field", "", func(r *docker.Request) { r.Host.DeviceRequests[0].Driver = "cdi" }},
	"a device":              {"field", "", func(r *docker.Request) { r.Host.Devices = []container.DeviceMapping{{PathOnHost: "/dev/sda"}} }},
	"the host's processes":  {"field", "", func(r *docker.Request) { r.Host.PidMode = "host" }},
	"a sysctl":              {"field", "", func(r *docker.Request) { r.Host.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"} }},
	"a network's endpoint": {"field", "", func(r *docker.Request) {
		r.Networking = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{"host": nil}}
	}},
	"swap":                     {"request", "", func(r *docker.Request) { r.Host.MemorySwap = -1 }},
	"a negative limit":         {"request", "", func(r *docker.Request) { r.Host.NanoCPUs = -1 }},
	"a restart":                {"request", "", func(r *docker.Request) { r.Host.RestartPolicy.Name = "always" }},
	"another stop signal":      {"request", "", func(r *docker.Request) { r.Config.StopSignal = "SIGSTOP" }},
	"a log that is sent":       {"request", "", func(r *docker.Request) { r.Host.LogConfig.Type = "syslog" }},
	"a log option":             {"request", "", func(r *docker.Request) { r.Host.LogConfig.Config["syslog-address"] = "tcp://192.0.2.1" }},
	"a host with a line":       {"request", "", func(r *docker.Request) { r.Host.ExtraHosts = []string{"a\nb:192.0.2.1"} }},
	"a host without address":   {"request", "", func(r *docker.Request) { r.Host.ExtraHosts = []string{"a:b"} }},
	"a name":                   {"request", "", func(r *docker.Request) { r.Name = "../x" }},
	"somebody's label":         {"labels", "", func(r *docker.Request) { r.Config.Labels["traefik.enable"] = "true" }},
	"a volume's label":         {"labels", "", func(r *docker.Request) { r.Host.Mounts[0].VolumeOptions.Labels["x"] = "y" }},
	"a network's label":        {"labels", "", func(r *docker.Request) { r.Network.Labels["x"] = "y" }},
	"an image not written out": {"images", "", func(r *docker.Request) { image(r, "alpine") }},
	"two images":               {"images", "", func(r *docker.Request) { r.Image = "docker.io/library/other:1" }},
}

func into(r *docker.Request, name string) {
	r.Host.NetworkMode, r.Network = container.NetworkMode(name), nil
}

func image(r *docker.Request, name string) { r.Image, r.Config.Image = name, name }

func bind(r *docker.Request, source string) {
	r.Host.Mounts = append(r.Host.Mounts, mount.Mount{Type: mount.TypeBind, Source: source, Target: "/host"})
}

func TestDefaultRefuses(t *testing.T) {
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) { refusedAndMended(t, nil, c.change, c.rule, c.remedy) })
	}
}

// refusedAndMended sees that a request is refused by the rule, and that it is
// allowed when agent.yaml says what the refusal asks for. remedy is a line of
// agent.yaml; "no key" means that the key is to go.
func refusedAndMended(t *testing.T, file map[string]string, change func(*docker.Request), rule, remedy string) {
	t.Helper()
	r := request()
	change(&r)
	err := parsed(t, file).Review(r)
	var refusal *Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, rule, refusal.Rule, "%v", err)
	require.ErrorContains(t, err, "agent policy, rule "+rule+": ")
	require.NotContains(t, err.Error(), "\n")
	require.Equal(t, remedy, refusal.Remedy)
	if remedy == "" {
		require.ErrorContains(t, err, "can't allow it")
		return
	}
	require.ErrorContains(t, err, remedy)
	mended := maps.Clone(file)
	if mended == nil {
		mended = map[string]string{}
	}
	if key, gone := strings.CutPrefix(remedy, "no "); gone {
		delete(mended, key)
	} else {
		key, value, _ := strings.Cut(remedy, ": ")
		mended[key] = value
	}
	require.NoError(t, parsed(t, mended).Review(r), "the remedy does not help")
}

func parsed(t *testing.T, file map[string]string) *Policy {
	t.Helper()
	var lines []string
	for key, value := range file {
		lines = append(lines, key+": "+value)
	}
	p, err := Parse("agent.yaml", []byte(strings.Join(lines, "\n")))
	require.NoError(t, err)
	return p
}

// Each key of agent.yaml restricts what the default allows, or widens it.
func TestKeys(t *testing.T) {
	for name, c := range map[string]struct {
		key, value, rule, remedy string
		change                   func(*docker.Request)
	}{
		"image":          {"images", `["ghcr.io/acme/**"]`, "images", `images: ["docker.io/library/alpine"]`, func(*docker.Request) {}},
		"no image":       {"images", `[]`, "images", `images: ["docker.io/library/alpine"]`, func(*docker.Request) {}},
		"an image's id":  {"images", `["**"]`, "images", ``, func(r *docker.Request) { image(r, "sha256:"+strings.Repeat("0a", 32)) }},
		"runtime":        {"runtimes", `[default, runc]`, "runtimes", `runtimes: ["sysbox-runc"]`, func(*docker.Request) {}},
		"no runtime":     {"runtimes", `[sysbox-runc]`, "runtimes", `runtimes: ["default"]`, func(r *docker.Request) { r.Host.Runtime = "" }},
		"volumes":        {"volumes", `false`, "volumes", "volumes: true", func(*docker.Request) {}},
		"new privileges": {"new_privileges", `false`, "new_privileges", "new_privileges: true", func(r *docker.Request) { r.Host.SecurityOpt = nil }},
		"gpu":            {"gpus", `[GPU-2]`, "gpus", `gpus: ["GPU-1"]`, func(*docker.Request) {}},
		"no gpu":         {"gpus", `none`, "gpus", `gpus: ["GPU-1"]`, func(*docker.Request) {}},
		"gpus by number": {"gpus", `[GPU-1]`, "gpus", `gpus: all`, func(r *docker.Request) { r.Host.DeviceRequests[0].DeviceIDs, r.Host.DeviceRequests[0].Count = nil, 1 }},
		"gpus by variable": {"gpus", `none`, "gpus", `gpus: all`, func(r *docker.Request) {
			r.Host.DeviceRequests, r.Config.Env = nil, []string{"NVIDIA_VISIBLE_DEVICES=canary"}
		}},
		"injection":        {"inject_runner", `false`, "inject_runner", "inject_runner: true", func(*docker.Request) {}},
		"cpu":              {"max_cpu", `1.5`, "max_cpu", "max_cpu: 2", func(*docker.Request) {}},
		"cpu unbounded":    {"max_cpu", `4`, "max_cpu", "no max_cpu", func(r *docker.Request) { r.Host.NanoCPUs = 0 }},
		"memory":           {"max_memory", `1023MiB`, "max_memory", "max_memory: 1GiB", func(*docker.Request) {}},
		"memory unbounded": {"max_memory", `4g`, "max_memory", "no max_memory", func(r *docker.Request) { r.Host.Memory, r.Host.MemorySwap = 0, 0 }},
		"shm":              {"max_shm", `1000000`, "max_shm", "max_shm: 1MiB", func(*docker.Request) {}},
		"pids":             {"max_pids", `4095`, "max_pids", "max_pids: 4096", func(*docker.Request) {}},
		"pids unbounded":   {"max_pids", `4096`, "max_pids", "no max_pids", func(r *docker.Request) { none := int64(-1); r.Host.PidsLimit = &none }},
		"pids not said":    {"max_pids", `4096`, "max_pids", "no max_pids", func(r *docker.Request) { r.Host.PidsLimit = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			refusedAndMended(t, map[string]string{c.key: c.value}, c.change, c.rule, c.remedy)
			r := request()
			c.change(&r)
			if c.remedy != "" {
				require.NoError(t, Default().Review(r), "the key is what refuses")
			}
		})
	}
	exact := parsed(t, map[string]string{"max_cpu": "2", "max_memory": "1GiB", "max_shm": "1m", "max_pids": "4096", "max_runners": "3", "updates": "false",
		"images": `["docker.io/library/alpine"]`, "runtimes": "[sysbox-runc]", "gpus": "[GPU-1]"})
	require.NoError(t, exact.Review(request()), "the most is allowed")
	require.Equal(t, 3, exact.MaxRunners())
	require.False(t, exact.AllowsUpdate())
	none := request()
	none.Config.Env, none.Host.DeviceRequests = []string{"NVIDIA_VISIBLE_DEVICES=void"}, nil
	require.NoError(t, parsed(t, map[string]string{"gpus": "none"}).Review(none))
}

// What a refusal tells holds nothing secret and nothing that breaks a log.
func TestRefusalsAreDiscreet(t *testing.T) {
	r := request()
	r.Config.Env, r.Host.DeviceRequests = []string{"NVIDIA_VISIBLE_DEVICES=canary-5e", "TOKEN=canary-5e"}, nil
	err := parsed(t, map[string]string{"gpus": "none"}).Review(r)
	require.ErrorContains(t, err, "NVIDIA_VISIBLE_DEVICES")
	require.NotContains(t, err.Error(), "canary")
	into(&r, strings.Repeat("x\n", 5000))
	err = Default().Review(r)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "\n")
	require.Less(t, len(err.Error()), 1000)
	for name, c := range refusals {
		r := request()
		r.Config.Env = []string{"TOKEN=canary-5e"}
		c.change(&r)
		require.NotContains(t, jsonOf(t, Default().Review(r)), "canary", name)
	}
}

func jsonOf(t require.TestingT, v any) string {
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}
