package docker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// reaches tells of each field of a template what a value in it changes of what the
// engine is asked, from the loop to the wire. What is left to the loop changes nothing.
var reaches = map[string]struct {
	set  func(*template.Template)
	want map[string]string
}{
	"Key":    {func(t *template.Template) {}, nil}, // a label; each of these has another
	"Labels": {func(t *template.Template) { t.Labels = []string{"a", "b"} }, map[string]string{"label labels": `"a,b"`}},
	"OS":     {func(t *template.Template) { t.OS = "linux" }, map[string]string{"platform": `"linux"`}},
	"Arch":   {func(t *template.Template) { t.Arch, t.Image = "arm64", "of-arm64" }, map[string]string{"Image": `"of-arm64"`, "platform": `"arm64"`}},
	"Image":  {func(t *template.Template) { t.Image = "other" }, map[string]string{"Image": `"other"`}},
	"PullPolicy": {func(t *template.Template) { t.PullPolicy, t.Image = "always", "pulled" },
		map[string]string{"Image": `"pulled"`, "pull": "true"}},
	"PullMaxAge": {func(t *template.Template) { t.PullPolicy, t.PullMaxAge, t.Image = "if-older", time.Hour, "aged" },
		map[string]string{"Image": `"aged"`, "pull": "true"}},
	"InjectRunner": {func(t *template.Template) { t.InjectRunner = true }, map[string]string{
		"Entrypoint": `["/.slipway/slipway-runner"]`, "Cmd": `["runner"]`, "StopSignal": `"SIGTERM"`,
		"HostConfig.Mounts": `[{"Type":"volume","Target":"/.slipway","VolumeOptions":{"NoCopy":true}}]`}},
	"Entrypoint": {func(t *template.Template) { t.Entrypoint = []string{"/bin/run"} }, map[string]string{"Entrypoint": `["/bin/run"]`}},
	"Command":    {func(t *template.Template) { t.Command = []string{"run", "--once"} }, map[string]string{"Cmd": `["run","--once"]`}},
	"Env":        {func(t *template.Template) { t.Env = map[string]string{"CI": "true"} }, map[string]string{"Env": `["CI=true","TOKEN=registration"]`}},
	"User":       {func(t *template.Template) { t.User = "1000:1000" }, map[string]string{"User": `"1000:1000"`}},
	"CPU":        {func(t *template.Template) { t.CPU = 1.5 }, map[string]string{"HostConfig.NanoCpus": "1500000000"}},
	"Memory": {func(t *template.Template) { t.Memory = 1 << 30 },
		map[string]string{"HostConfig.Memory": "1073741824", "HostConfig.MemorySwap": "1073741824"}},
	"GPUs": {func(t *template.Template) { t.GPUs = -1 }, map[string]string{
		"HostConfig.DeviceRequests": `[{"Driver":"","Count":-1,"DeviceIDs":null,"Capabilities":[["gpu"]],"Options":null}]`}},
	"ShmSize":   {func(t *template.Template) { t.ShmSize = 1 << 20 }, map[string]string{"HostConfig.ShmSize": "1048576"}},
	"PidsLimit": {func(t *template.Template) { t.PidsLimit = 77 }, map[string]string{"HostConfig.PidsLimit": "77"}},
	"Runtime":   {func(t *template.Template) { t.Runtime = "sysbox-runc" }, map[string]string{"HostConfig.Runtime": `"sysbox-runc"`}},
	"Network": {func(t *template.Template) { t.Network = "builds" }, map[string]string{
		"HostConfig.NetworkMode": `"builds"`, "HostConfig.ExtraHosts": `["host.docker.internal:host-gateway"]`}},
	"Mounts": {func(t *template.Template) {
		t.Mounts = []template.Mount{{Bind: "/srv/cache", Target: "/cache", ReadOnly: true}}
	}, map[string]string{"HostConfig.Mounts": `[{"Type":"bind","Source":"/srv/cache","Target":"/cache","ReadOnly":true}]`}},
	"Tmpfs":      {func(t *template.Template) { t.Tmpfs = map[string]string{"/tmp": "size=1m"} }, map[string]string{"HostConfig.Tmpfs": `{"/tmp":"size=1m"}`}},
	"CapAdd":     {func(t *template.Template) { t.CapAdd = []string{"NET_ADMIN"} }, map[string]string{"HostConfig.CapAdd": `["CAP_NET_ADMIN"]`}},
	"CapDrop":    {func(t *template.Template) { t.CapDrop = []string{"ALL"} }, map[string]string{"HostConfig.CapDrop": `["ALL"]`}},
	"Privileged": {func(t *template.Template) { t.Privileged = true }, map[string]string{"HostConfig.Privileged": "true"}},
	"ReadOnly":   {func(t *template.Template) { t.ReadOnly = true }, map[string]string{"HostConfig.ReadonlyRootfs": "true"}},
	"AllowNewPrivileges": {func(t *template.Template) { t.AllowNewPrivileges = true },
		map[string]string{"HostConfig.SecurityOpt": "null"}},
	"MaxConcurrency":    {func(t *template.Template) { t.MaxConcurrency = 2 }, nil},
	"TargetConcurrency": {func(t *template.Template) { t.TargetConcurrency = 1 }, nil},
	"MinIdle":           {func(t *template.Template) { t.MinIdle, t.TargetConcurrency = 0, 1 }, nil},
	"Cost":              {func(t *template.Template) { t.Cost = 7 }, nil},
	"RegistrationDeadline": {func(t *template.Template) { t.RegistrationDeadline = time.Minute },
		map[string]string{"label registration-deadline": `"1m0s"`}},
	"MaxLifetime": {func(t *template.Template) { t.MaxLifetime = time.Hour }, map[string]string{"label max-lifetime": `"1h0m0s"`}},
}

// TestEveryFieldOfATemplateReachesTheEngine: a field that is new to templates has to
// be told above where it goes, and then goes there.
func TestEveryFieldOfATemplateReachesTheEngine(t *testing.T) {
	t.Parallel()
	base := template.Template{Key: "base", Labels: []string{"a"}, Image: "runner", CPU: 1, Memory: 1 << 29, MaxConcurrency: 1, MinIdle: 1}
	templates := []template.Template{base}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[template.Template]()) {
		c, ok := reaches[f.Name]
		require.True(t, ok, "where does a template's %s go?", f.Name)
		one := base
		one.Key = f.Name
		c.set(&one)
		require.NotEqual(t, reflect.ValueOf(base).FieldByIndex(f.Index).Interface(), reflect.ValueOf(one).FieldByIndex(f.Index).Interface(), f.Name)
		templates = append(templates, one)
	}
	require.Len(t, templates, len(reaches)+1, "a field that templates do not have")

	asked := ask(t, templates)
	for name, c := range reaches {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, asked, name, "never launched")
			got := map[string]string{}
			for _, part := range slices.Concat(slices.Collect(maps.Keys(asked["base"])), slices.Collect(maps.Keys(asked[name]))) {
				if asked["base"][part] != asked[name][part] {
					got[part] = asked[name][part]
				}
			}
			want := maps.Clone(c.want)
			if want == nil {
				want = map[string]string{}
			}
			want["label template"] = `"` + name + `"`
			require.Equal(t, want, got)
		})
	}
}

// ask has a loop launch a runner of each template, and returns what an engine is asked
// to create for it, by template and part.
func ask(t *testing.T, templates []template.Template) map[string]map[string]string {
	engine := &asking{asked: map[string]map[string]string{}, pulled: map[string]bool{}, all: make(chan struct{}), templates: len(templates)}
	server := httptest.NewServer(engine)
	t.Cleanup(server.Close)
	program := filepath.Join(t.TempDir(), "runner")
	require.NoError(t, os.WriteFile(program, nil, 0o700))
	b, err := docker.New(docker.Config{
		Owner: "me", Host: "tcp://" + server.Listener.Addr().String(), Network: "none", AllowedBinds: []string{"/srv"},
		Runner:     func(context.Context, string, string) (string, error) { return program, nil },
		RunnerArgs: []string{"runner"}, CARoots: []byte{},
	})
	require.NoError(t, err)
	loop, err := provisioner.New(provisioner.Config{ControlPlane: idlePlane{}, Backend: b, Templates: templates})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = loop.Run(ctx) })
	select {
	case <-engine.all:
	case <-time.After(patience):
	}
	stop()
	running.Wait()
	require.NoError(t, b.Close())
	engine.mu.Lock()
	defer engine.mu.Unlock()
	for _, parts := range engine.asked {
		if engine.pulled[parts["Image"]] {
			parts["pull"] = "true"
		}
	}
	return engine.asked
}

// idlePlane has no jobs, and registers warm runners.
type idlePlane struct{}

func (idlePlane) Identify(context.Context) (provisioner.Identity, error) {
	return provisioner.Identity{ID: "me"}, nil
}

func (idlePlane) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	timer := time.NewTimer(ad.Wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return provisioner.Demand{}, ctx.Err()
	case <-timer.C:
		return provisioner.Demand{}, nil
	}
}

func (idlePlane) Mint(_ context.Context, requests []provisioner.MintRequest) (out []provisioner.Registration, _ error) {
	for _, r := range requests {
		out = append(out, provisioner.Registration{Runner: r.Runner, Env: map[string]string{"TOKEN": "registration"}})
	}
	return out, nil
}

func (idlePlane) Report(context.Context, []provisioner.Event) error { return nil }

// asking is an engine that has every image, notes what it is asked to create, and
// refuses that.
type asking struct {
	templates int
	all       chan struct{} // closed when all templates were asked for

	mu     sync.Mutex
	asked  map[string]map[string]string
	pulled map[string]bool // by image, as JSON
}

func (e *asking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	answer := func(status int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
	switch {
	case r.URL.Path == "/_ping":
		w.Header().Set("Api-Version", "1.47")
		answer(http.StatusOK, "OK")
	case path == "containers/json":
		answer(http.StatusOK, "[]")
	case path == "events":
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case path == "images/create":
		image := strings.TrimPrefix(r.URL.Query().Get("fromImage"), "docker.io/library/")
		e.mu.Lock()
		e.pulled[fmt.Sprintf("%q", image)] = true
		e.mu.Unlock()
		answer(http.StatusOK, "")
	case strings.HasPrefix(path, "images/"):
		arch := "amd64"
		if strings.Contains(path, "arm64") {
			arch = "arm64"
		}
		answer(http.StatusOK, `{"Id":"sha256:1","Os":"linux","Architecture":"`+arch+`"}`)
	case path == "containers/create":
		e.note(r)
		answer(http.StatusBadRequest, `{"message":"noted"}`)
	default:
		answer(http.StatusNotFound, `{"message":"nothing here"}`)
	}
}

// note takes a create request apart.
func (e *asking) note(r *http.Request) {
	var body map[string]json.RawMessage
	var host map[string]json.RawMessage
	var labels map[string]string
	if json.NewDecoder(r.Body).Decode(&body) != nil || json.Unmarshal(body["HostConfig"], &host) != nil || json.Unmarshal(body["Labels"], &labels) != nil {
		return
	}
	parts := map[string]string{}
	for name, value := range body {
		if name != "HostConfig" && name != "Labels" {
			parts[name] = string(value)
		}
	}
	for name, value := range host {
		parts["HostConfig."+name] = string(value)
	}
	for name, value := range labels {
		if name = strings.TrimPrefix(name, "slipway."); name != "runner" && name != "keys" {
			parts["label "+name] = fmt.Sprintf("%q", value)
		}
	}
	if platform := r.URL.Query().Get("platform"); platform != "" {
		parts["platform"] = fmt.Sprintf("%q", platform)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	key := strings.Trim(parts["label template"], `"`)
	if _, again := e.asked[key]; again {
		return
	}
	if e.asked[key] = parts; len(e.asked) == e.templates {
		close(e.all)
	}
}
