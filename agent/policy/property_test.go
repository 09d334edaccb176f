package policy

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
)

// The words of a hub that means harm, field by field, and of one that does not.
func hostile(root string) map[string][]string {
	return map[string][]string{
		"text": {"", "x", "a,b", "a=b", "a\nb", "a\x00b", "\xff", "../..", "host", "traefik.enable", "x\",\"Privileged\":true,\"", "{{.}}", "$(id)"},
		"key":  {"template", "owner", "runner", "keys", "label.owner", "x", "com.docker.compose", "a,b", "A", "slipway.owner"},
		"image": {"alpine", "docker.io/library/alpine:3", "ghcr.io/evil/x", "evil.io/docker.io/library/alpine", "deadbeef", "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
			"alpine@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "library/alpine", "index.docker.io/library/alpine", "docker.io/evil/alpine", "alpine:../../x", "ALPINE", "localhost/x", "docker.io/library/a/b"},
		"network": {"", "none", "host", "bridge", "default", "container:db", "container:", "slipway-net-x", "ns:/proc/1/ns/net", "ingress", "Host"},
		"runtime": {"", "runc", "sysbox-runc", "/bin/sh", "io.containerd.evil.v1", "runc/../../sh", "run c", "nvidia"},
		"volume":  {"cache", "x", "/etc", "a/b", "../x", "a:b", "docker.sock", "c,driver=local", ""},
		"bind": {"", "/", "/etc", "/var/run/docker.sock", "/run", root + "/allowed/sub", root + "/allowed/in", root + "/allowed/link", root + "/allowed/../outside",
			root + "/allowedx", root + "/allowed/engine", root + "/allowed/link/../sub", root + "/to-allowed/sub", root + "/allowed/dangling", root + "/allowed/sub/..", "relative", "/proc/1/root"},
		"target":     {"/cache", "/", "/a/../b", "relative", "/.slipway", "/proc", "/etc/passwd", "/a\nb", "/x"},
		"tmpfs":      {"", "size=1m", "size=1m,mode=1777", "dev", "suid", "exec", "bind", "size=1m,dev", "x=y", "remount,bind"},
		"capability": {"NET_RAW", "CAP_CHOWN", "SYS_ADMIN", "cap_sys_admin", "ALL", "all", " SYS_ADMIN", "CAP_CAP_SYS_ADMIN", "", "kill"},
		"gpu":        {"GPU-1", "0", "all", "ALL", "0,1", "", "nvidia.com/gpu=all", "none", "0:1"},
		"arch":       {"", "amd64", "arm64", "amd64/v3", "x\"y"},
		"user":       {"", "root", "0:0", "1000", "worker", "a b"},
	}
}

// specs makes launches. One in two fields is as nobody would mind, so that many
// get as far as to the engine.
func specs(words map[string][]string) *rapid.Generator[backend.Spec] {
	return rapid.Custom(func(t *rapid.T) backend.Spec {
		// benign keeps a field at its first, harmless word most of the time.
		pick := func(kind, harmless string) string {
			if rapid.IntRange(0, 9).Draw(t, kind+" harmless") < 8 {
				return harmless
			}
			if rapid.IntRange(0, 9).Draw(t, kind+" any") == 0 {
				return rapid.String().Draw(t, kind)
			}
			return rapid.SampledFrom(words[kind]).Draw(t, kind)
		}
		some := func(label string) int { return max(0, rapid.IntRange(-6, 2).Draw(t, label)) }
		rarely := func(label string) bool { return rapid.IntRange(0, 15).Draw(t, label) == 0 }
		number := func(label string, values ...int64) int64 {
			if rapid.IntRange(0, 3).Draw(t, label+" none") > 0 {
				return 0
			}
			return rapid.SampledFrom(values).Draw(t, label)
		}
		s := backend.Spec{
			ID: uuid.Must(uuid.NewV7()).String(), Image: pick("image", "alpine"), PullPolicy: rapid.SampledFrom([]backend.PullPolicy{"", backend.PullNever, backend.PullAlways}).Draw(t, "policy"),
			OS: pick("arch", ""), Arch: pick("arch", "amd64"), User: pick("user", "worker"), Runtime: pick("runtime", "runc"), Network: pick("network", ""),
			CPU: float64(number("cpu", 1, 64, -1)), Memory: number("memory", 1<<30, -1), ShmSize: number("shm", 1<<20, -1), PidsLimit: number("pids", 100, -1, -2),
			GPUs: int(number("gpus", 1, -1, -2)), Privileged: rarely("privileged"), ReadOnly: rarely("read-only"), AllowNewPrivileges: rapid.Bool().Draw(t, "new privileges"),
			InjectRunner: rapid.Bool().Draw(t, "inject"),
		}
		if !s.InjectRunner {
			s.Entrypoint, s.Command = []string{pick("text", "sh")}, []string{pick("text", "-c")}
		}
		s.Labels, s.Env, s.Tmpfs = map[string]string{}, map[string]string{}, map[string]string{}
		for range some("labels") {
			s.Labels[pick("key", "template")] = pick("text", "x")
		}
		for range some("env") {
			s.Env[pick("text", "A")] = pick("text", "1")
		}
		for range some("tmpfs") {
			s.Tmpfs[pick("target", "/scratch")] = pick("tmpfs", "size=1m")
		}
		for range some("capabilities") {
			s.CapAdd, s.CapDrop = append(s.CapAdd, pick("capability", "KILL")), append(s.CapDrop, pick("capability", "ALL"))
		}
		for range some("gpu ids") {
			s.GPUIDs = append(s.GPUIDs, pick("gpu", "GPU-1"))
		}
		for range some("mounts") {
			m := backend.Mount{Target: pick("target", "/cache"), ReadOnly: rapid.Bool().Draw(t, "ro")}
			if rapid.Bool().Draw(t, "bind it") {
				m.Bind = rapid.SampledFrom(words["bind"]).Draw(t, "bind")
			} else {
				m.Volume = pick("volume", "cache")
			}
			s.Mounts = append(s.Mounts, m)
		}
		return s
	})
}

// No spec, however it is made, yields a create request outside of the policy:
// what arrives at an engine is judged by verdict, which shares nothing with it.
func TestNoSpecGetsOutside(t *testing.T) {
	root := site(t)
	for name, c := range map[string]struct {
		rules Rules
		judge verdict
	}{
		"default": {Rules{}, verdict{}},
		"library": {Rules{Images: []string{"docker.io/library/*"}}, verdict{library: true}},
		"binds":   {Rules{Binds: []Bind{{Path: root + "/allowed"}}}, verdict{binds: root + "/allowed"}},
	} {
		t.Run(name, func(t *testing.T) {
			engine := newFakeEngine(t)
			p, err := New(c.rules)
			require.NoError(t, err)
			b, err := docker.New(docker.Config{
				Owner: "host-1", Host: engine.host, Review: p.Review, ConfigDir: t.TempDir(), CARoots: []byte("roots"),
				// The widest that a backend allows by itself: the policy is what is tested.
				AllowedBinds: []string{"/"},
				Runner:       func(context.Context, string, string) (string, error) { return "/bin/true", nil },
			})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			arrived, refused := 0, 0
			generator := specs(hostile(root))
			rapid.Check(t, func(t *rapid.T) {
				spec := generator.Draw(t, "spec")
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				err := b.Launch(ctx, spec)
				require.Error(t, err)
				require.True(t, backend.IsDefinite(err), "%v", err)
				creates, networks, pulls := engine.take()
				var refusal *Refusal
				if errors.As(err, &refusal) {
					refused++
					require.ErrorIs(t, err, backend.ErrRefused)
					require.Empty(t, creates, "created and then refused")
					require.Empty(t, networks)
					require.Empty(t, pulls, "pulled for nobody")
				}
				for _, body := range creates {
					arrived++
					require.Empty(t, c.judge.outside(body), "%+v\n%s", []any{spec.Image, spec.Network, spec.Runtime, spec.Mounts, spec.Tmpfs, spec.CapAdd, spec.GPUIDs, spec.Labels}, jsonOf(t, body))
				}
				for _, body := range networks {
					require.Empty(t, c.judge.network(body))
				}
			})
			require.Greater(t, arrived, 5, "next to nothing was let through: the property says little")
			require.Greater(t, refused, 5, "next to nothing was refused: the property says little")
		})
	}
}

// No request, even one that no backend makes, is allowed and outside: fields of an
// ordinary one are set to what a hub that means harm would like.
func TestNoRequestGetsOutside(t *testing.T) {
	root := site(t)
	var words []string
	for _, kind := range hostile(root) {
		words = append(words, kind...)
	}
	words = append(words, "no-new-privileges", "seccomp=unconfined", "bind", "volume", "tmpfs", "image", "gpu", "SIGKILL", "always", "size=1m", "slipway.x",
		"slipway-cache-0123456789ab-x", "local", "syslog", "max-size", "/srv", "service:x", "shareable", "private")
	var fields []leaf
	for _, one := range leaves(reflect.TypeFor[docker.Request](), "", func(root reflect.Value) reflect.Value { return root }) {
		if strings.HasPrefix(one.path, "Config.") || strings.HasPrefix(one.path, "HostConfig.") || strings.HasPrefix(one.path, "NetworkingConfig") {
			fields = append(fields, one)
		}
	}
	p := mustNew(t, Rules{Images: []string{"docker.io/library/*"}, Binds: []Bind{{Path: root + "/allowed"}}})
	judge := verdict{library: true, binds: root + "/allowed"}
	known, allowed := judgedFields(fields), 0
	rapid.Check(t, func(t *rapid.T) {
		r := request()
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			from := known
			if rapid.IntRange(0, 7).Draw(t, "any field") == 0 {
				from = fields
			}
			one := rapid.SampledFrom(from).Draw(t, "field")
			v := one.reach(reflect.ValueOf(&r).Elem())
			v.Set(drawn(t, v.Type(), words))
		}
		r.Image = r.Config.Image
		if string(r.Host.NetworkMode) != r.Network.Name {
			r.Network = nil
		}
		if p.Review(r) == nil {
			allowed++
			sent := jsonOf(t, body{r.Config, r.Host, r.Networking})
			require.Empty(t, judge.outside(decode(t, sent)), "%s", sent)
		}
	})
	require.Greater(t, allowed, 5, "next to nothing was allowed: the property says little")
}

// The same, word by word, each at its place in an ordinary request.
func TestNoWordGetsOutside(t *testing.T) {
	root := site(t)
	data := root + "/allowed/agent/data"
	p := mustNew(t, Rules{Images: []string{"docker.io/library/*"}, Binds: []Bind{{Path: root + "/allowed"}}})
	p.Protect(data)
	judge := verdict{library: true, binds: root + "/allowed", never: []string{data, root + "/allowed/engine"}}
	words := hostile(root)
	words["bind"] = append(words["bind"], data, data+"/token", root+"/allowed/agent", root+"/allowed", root+"/to-data")
	for kind, place := range map[string]func(*docker.Request, string){
		"image":      image,
		"network":    into,
		"runtime":    func(r *docker.Request, word string) { r.Host.Runtime = word },
		"volume":     func(r *docker.Request, word string) { r.Host.Mounts[0].Source = r.VolumePrefix + word },
		"bind":       bind,
		"target":     func(r *docker.Request, word string) { r.Host.Mounts[0].Target = word },
		"tmpfs":      func(r *docker.Request, word string) { r.Host.Tmpfs["/scratch"] = word },
		"capability": func(r *docker.Request, word string) { r.Host.CapAdd = []string{word} },
		"gpu":        func(r *docker.Request, word string) { r.Host.DeviceRequests[0].DeviceIDs = []string{word} },
		"key":        func(r *docker.Request, word string) { r.Config.Labels[word] = "x" },
	} {
		allowed := 0
		for _, word := range append(words[kind], words["text"]...) {
			r := request()
			place(&r, word)
			if p.Review(r) == nil {
				allowed++
				sent := jsonOf(t, body{r.Config, r.Host, r.Networking})
				require.Empty(t, judge.outside(decode(t, sent)), "%s %q", kind, word)
			}
		}
		require.Positive(t, allowed, "no %s at all is allowed", kind)
	}
}

func judgedFields(fields []leaf) (out []leaf) {
	for _, one := range fields {
		if slices.Contains(judged, one.path) {
			out = append(out, one)
		}
	}
	return out
}

// drawn is a value of the type, made of the words where it has texts.
func drawn(t *rapid.T, kind reflect.Type, words []string) reflect.Value {
	v := some(kind)
	text := func() reflect.Value {
		return reflect.ValueOf(rapid.SampledFrom(words).Draw(t, "word"))
	}
	switch kind.Kind() {
	case reflect.String:
		v.Set(text().Convert(kind))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(kind, 0, 2))
		for range rapid.IntRange(0, 2).Draw(t, "items") {
			v.Set(reflect.Append(v, drawn(t, kind.Elem(), words)))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(kind))
		v.SetMapIndex(drawn(t, kind.Key(), words), drawn(t, kind.Elem(), words))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "flag"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.SampledFrom([]int64{-1, 0, 1, 1 << 30}).Draw(t, "number"))
	}
	return v
}

// body is the create request as the client sends it.
type body struct {
	*container.Config
	HostConfig       *container.HostConfig
	NetworkingConfig *network.NetworkingConfig
}

// FuzzReview gives whole create requests, which no backend would make, to the
// policy: what it allows the second judge allows.
func FuzzReview(f *testing.F) {
	add := func(r docker.Request) {
		f.Add([]byte(jsonOf(f, body{r.Config, r.Host, r.Networking})))
	}
	add(request())
	for _, c := range refusals {
		r := request()
		c.change(&r)
		add(r)
	}
	for _, text := range []string{`{"HostConfig":{"Init":false}}`, `{"HostConfig":{"OomKillDisable":false,"MaskedPaths":[]}}`, `{"Healthcheck":{}}`,
		`{"HostConfig":{"Ulimits":[null]}}`, `{"HostConfig":{"ConsoleSize":[1,0]}}`, `{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/etc","Target":"/x"}]}}`} {
		f.Add([]byte(text))
	}
	policies := []struct {
		p *Policy
		v verdict
	}{{Default(), verdict{}}, {mustNew(f, Rules{Images: []string{"docker.io/library/*"}}), verdict{library: true}}}
	f.Fuzz(func(t *testing.T, text []byte) {
		var asked body
		if json.Unmarshal(text, &asked) != nil || asked.Config == nil || asked.HostConfig == nil {
			return
		}
		r := request()
		r.Config, r.Host, r.Networking, r.Image = asked.Config, asked.HostConfig, asked.NetworkingConfig, asked.Config.Image
		if string(asked.HostConfig.NetworkMode) != r.Network.Name {
			r.Network = nil
		}
		sent := decode(t, jsonOf(t, asked))
		for _, one := range policies {
			if err := one.p.Review(r); err == nil {
				require.Empty(t, one.v.outside(sent), "%s", text)
			}
		}
	})
}

func mustNew(t require.TestingT, rules Rules) *Policy {
	p, err := New(rules)
	require.NoError(t, err)
	return p
}

// FuzzParse: whatever the file says, it is a policy or an error with a place.
func FuzzParse(f *testing.F) {
	for _, text := range []string{example, "", "images: [x]", "a: &a [*a]", "? {}\n: b", "privileged: !!bool true", "\xff", "max_memory: 1e400", "binds: ['/a:ro']"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse("agent.yaml", text)
		if err != nil {
			require.ErrorIs(t, err, ErrFile)
			require.Contains(t, err.Error(), "agent.yaml")
			return
		}
		_, err = New(p.rules)
		require.NoError(t, err)
		_ = p.Review(request())
	})
}
