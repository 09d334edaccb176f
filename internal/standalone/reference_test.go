package standalone

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/enginetest"
	"github.com/slipway-ci/slipway/internal/standalone/foxtest"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
)

var generationNames = []string{"head", "ert", "pr"}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// idLabel is the label in which the reference of a generation keeps a runner's id.
func idLabel(generation string) string {
	if generation == "pr" {
		return "shipfox.provisioned_runner_id"
	}
	return "shipfox.provider_runner_id"
}

// referenceLabels are those that the reference gives a runner. Without a
// reservation it is a warm one, which head alone has.
func referenceLabels(generation, owner string, r provisioner.Ref) map[string]string {
	labels := map[string]string{
		idLabel(generation): r.ID, "shipfox.provisioner_id": owner, "shipfox.template_key": "small", "shipfox.workspace_id": newID(), "shipfox.labels": "linux,small",
	}
	if reservation := r.Labels[provisioner.LabelReservation]; reservation != "" {
		labels["shipfox.reservation_id"] = reservation
	}
	if generation == "head" {
		labels["shipfox.runner_instance_id"] = r.Labels[shipfox.LabelInstance]
	}
	return labels
}

// promised is a runner that the service was told of, and its registration.
type promised struct {
	provisioner.Ref
	env map[string]string
}

// granted asks the service for registrations as the reference does, and tells it
// of their runners: n for jobs and, at head, one without.
func (d *dock) granted(generation string, n int) (list []promised) {
	d.t.Helper()
	control, err := shipfox.New(shipfox.Config{URL: d.world.Hub.URL(), Token: d.world.Token})
	require.NoError(d.t, err)
	d.world.Submit(d.t, n, "true", "linux")
	labels := []string{"linux", "small"}
	var requests []provisioner.MintRequest
	for len(requests) < n {
		demand, err := control.Poll(d.ctx(), provisioner.Advertisement{Wait: time.Second, MaxReservations: n - len(requests), ReservationLifetime: time.Minute,
			Templates: []provisioner.Slots{{Template: "small", Labels: labels, Free: n - len(requests)}}})
		require.NoError(d.t, err)
		for _, g := range demand.Grants {
			for range g.Count {
				requests = append(requests, provisioner.MintRequest{Runner: newID(), Template: "small", Reservation: g.Reservation, Labels: labels})
			}
		}
	}
	if generation == "head" {
		requests = append(requests, provisioner.MintRequest{Runner: uuid.NewString(), Template: "small", Labels: labels}) // ids were of this version once
	}
	for batch := range slices.Chunk(requests, n) {
		minted, err := control.Mint(d.ctx(), batch)
		require.NoError(d.t, err)
		require.Len(d.t, minted, len(batch))
		for i, m := range minted {
			ref := provisioner.Ref{ID: m.Runner, Labels: map[string]string{
				provisioner.LabelTemplate: "small", provisioner.LabelLabels: strings.Join(labels, ","), provisioner.LabelReservation: batch[i].Reservation}}
			maps.Copy(ref.Labels, m.Labels)
			require.NoError(d.t, control.Announce(d.ctx(), ref))
			list = append(list, promised{ref, m.Env})
		}
	}
	return list
}

// referenceEnv are the names in the environment that the reference gives a runner.
func referenceEnv(generation string) []string {
	env := []string{"SHIPFOX_API_URL", "SHIPFOX_RUNNER_LABELS", "SHIPFOX_POLL_MAX_DURATION_MS", "SHIPFOX_RUNNER_MAX_LIFETIME_SECONDS"}
	if generation == "head" {
		return append(env, "SHIPFOX_RUNNER_BOOTSTRAP_TOKEN", "SHIPFOX_RUNNER_PROVIDER_KIND")
	}
	return append(env, "SHIPFOX_RUNNER_REGISTRATION_TOKEN")
}

// asReference creates a container with the very request that the reference sends,
// but for the command, which there is the image's own. It returns the engine's id.
func (d *dock) asReference(generation string, runner provisioner.Ref, command ...string) string {
	d.t.Helper()
	var env []string
	for _, name := range referenceEnv(generation) {
		env = append(env, name+"=x")
	}
	made, err := d.engine.ContainerCreate(d.ctx(), &container.Config{
		Image: enginetest.BusyboxImage(d.t), Cmd: command, Env: env, Labels: referenceLabels(generation, d.owner, runner),
	}, &container.HostConfig{
		RestartPolicy: container.RestartPolicy{Name: "no"}, Resources: container.Resources{NanoCPUs: 5e8, Memory: 64 << 20},
	}, nil, nil, runner.ID)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { d.remove(made.ID) })
	return made.ID
}

func (d *dock) run(id string) {
	d.t.Helper()
	require.NoError(d.t, d.engine.ContainerStart(d.ctx(), id, container.StartOptions{}))
}

func (d *dock) wait(id string) {
	d.t.Helper()
	ended, errs := d.engine.ContainerWait(d.ctx(), id, container.WaitConditionNotRunning)
	select {
	case <-ended:
	case err := <-errs:
		require.NoError(d.t, err)
	}
}

// listener passes everything on, and notes what is reported.
type listener struct {
	*httptest.Server
	mu   sync.Mutex
	told map[string][]string // "state reason" by runner, each once
}

func newListener(t *testing.T, target string) *listener {
	to, err := url.Parse(target)
	require.NoError(t, err)
	l := &listener{told: map[string][]string{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(502) }}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/report") {
			body, _ := io.ReadAll(r.Body)
			l.note(body)
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		l.CloseClientConnections()
		l.Close()
	})
	return l
}

func (l *listener) note(body []byte) {
	var report struct {
		Events []map[string]any `json:"events"`
	}
	_ = json.Unmarshal(body, &report)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range report.Events {
		id := fmt.Sprint(e["provider_runner_id"])
		if older, ok := e["provisioned_runner_id"]; ok {
			id = fmt.Sprint(older)
		}
		words := fmt.Sprint(e["state"])
		if reason, ok := e["reason"]; ok {
			words += " " + fmt.Sprint(reason)
		}
		if !slices.Contains(l.told[id], words) {
			l.told[id] = append(l.told[id], words)
		}
	}
}

func (l *listener) of(runner string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.told[runner])
}

const adopting = "templates:\n  small:\n    labels: [linux, small]\n    image: " + enginetest.Image + "\n    cpu: 0.5\n    memory: 64m\n    max_concurrency: 10\n"

// What the reference left on a host, in whatever state, is adopted, reported and
// removed as the states call for.
func TestAdoptsWhatTheReferenceLeft(t *testing.T) {
	const obedient = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
	for _, generation := range generationNames {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			d := newDock(t, generation, templates(t, adopting))
			heard := newListener(t, d.world.Hub.URL())
			d.env = with(d.env, "SHIPFOX_API_URL", heard.URL, "SHIPFOX_PROVISIONER_MAX_RESERVATIONS", "0", "SHIPFOX_PROVISIONER_REGISTRATION_DEADLINE_MS", "1000",
				"SHIPFOX_PROVISIONER_DOCKER_FAILED_CONTAINER_RETENTION_MS", "3600000", "SHIPFOX_PROVISIONER_DOCKER_MAX_RETAINED_FAILED_CONTAINERS", "1")
			runner := map[string]string{}
			made := map[string]string{} // the engine's id
			command := map[string]string{
				"created": "true", "works": obedient, "silent": "sleep 600", "paused": "sleep 600", "stopped": "exit 0", "failed": "exit 3", "failed later": "exit 4", "warm": obedient,
			}
			whats := []string{"created", "works", "silent", "paused", "stopped", "failed", "failed later"}
			live := []string{"created", "works", "silent", "paused"}
			registrations := d.granted(generation, len(whats))
			if generation == "head" {
				whats, live = append(whats, "warm"), append(live, "warm")
			}
			for i, what := range whats {
				runner[what] = registrations[i].ID
				made[what] = d.asReference(generation, registrations[i].Ref, "/bin/sh", "-c", command[what])
				if command[what] == obedient { // it is none that never introduced itself, however long all of this takes
					_, err := foxtest.Introduce(d.ctx(), registrations[i].env)
					require.NoError(t, err)
				}
			}
			for _, what := range whats {
				if what == "created" {
					continue
				}
				d.run(made[what])
				if what == "stopped" || strings.HasPrefix(what, "failed") {
					d.wait(made[what])
				}
			}
			require.NoError(t, d.engine.ContainerPause(d.ctx(), made["paused"]))

			p := d.start()
			p.ready()
			held := map[string]string{}
			for _, r := range p.state(t).State.Runners {
				held[r.ID] = r.State
			}
			for _, what := range live {
				word := "running"
				if what == "created" {
					word = "starting"
				}
				require.Equal(t, word, held[runner[what]], what)
			}

			state := func(what string) string {
				c, err := d.engine.ContainerInspect(d.ctx(), made[what])
				if err != nil {
					return "gone"
				}
				return c.State.Status
			}
			soon := func(what, word string, patience time.Duration, last string) {
				t.Helper()
				require.Eventually(t, func() bool {
					told := heard.of(runner[what])
					return state(what) == word && len(told) > 0 && strings.HasPrefix(told[len(told)-1], last)
				}, patience, 50*time.Millisecond, "%s: it is %s, and was told as %q", what, state(what), heard.of(runner[what]))
			}
			soon("stopped", "gone", patience, "stopped")
			soon("works", "running", patience, "running")
			require.NoError(t, d.engine.ContainerKill(d.ctx(), made["works"], "TERM"))
			soon("works", "gone", patience, "stopped")
			if generation == "head" {
				soon("warm", "running", patience, "running")
				require.NoError(t, d.engine.ContainerKill(d.ctx(), made["warm"], "TERM"))
				soon("warm", "gone", patience, "stopped")
			}
			// Of those that failed one is kept for a post-mortem.
			require.Eventually(t, func() bool {
				return slices.Equal(heard.of(runner["failed"]), []string{"failed exit-code-3"}) && slices.Equal(heard.of(runner["failed later"]), []string{"failed exit-code-4"}) &&
					(state("failed") == "gone") != (state("failed later") == "gone")
			}, patience, 50*time.Millisecond, "%s %s, %s %s", state("failed"), heard.of(runner["failed"]), state("failed later"), heard.of(runner["failed later"]))
			// Those that never introduced themselves go at their deadlines.
			soon("silent", "gone", 2*patience, "terminated registration-deadline")
			soon("paused", "gone", 2*patience, "terminated registration-deadline")
			soon("created", "gone", 2*patience, "terminated")
			eventually(t, patience, func() string {
				for _, r := range p.state(t).State.Runners {
					if r.State != "failed" {
						return fmt.Sprintf("it still holds %v", r)
					}
				}
				return ""
			})
			require.NotEqual(t, state("failed") == "gone", state("failed later") == "gone", "one of the failed is kept, whatever was removed since")
		})
	}
}

var labelForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)

// referenceAdopts says why the reference of a generation would not list, parse,
// count and report a container as a runner of its own; "" where it would.
func referenceAdopts(generation, owner string, templates []string, c container.Summary) string {
	name := strings.TrimPrefix(c.Names[0], "/")
	id, labelled := c.Labels[idLabel(generation)]
	if !labelled {
		id = name
	}
	isID := func(text string) bool { return uuid.Validate(text) == nil }
	reservation, instance := c.Labels["shipfox.reservation_id"], c.Labels["shipfox.runner_instance_id"]
	switch {
	case c.Labels["shipfox.provisioner_id"] != owner:
		return "it is not listed"
	case id != name || id == "" || len(id) > 255:
		return "its id is not its name"
	case !slices.Contains(templates, c.Labels["shipfox.template_key"]):
		return "it takes no slot"
	case reservation != "" && !isID(reservation):
		return "the service would refuse its reservation"
	case reservation == "" && generation != "head":
		return "its events lack the reservation"
	case generation == "head" && !isID(instance):
		return "it can't be assigned"
	case c.Labels["shipfox.workspace_id"] != "" && !isID(c.Labels["shipfox.workspace_id"]):
		return "its workspace is none"
	case !slices.Contains([]string{"created", "running", "paused", "restarting", "exited", "dead", "removing"}, c.State):
		return "its state has no word"
	}
	labels := strings.Split(c.Labels["shipfox.labels"], ",")
	for _, label := range labels {
		if !labelForm.MatchString(label) {
			return "its labels can't be reported"
		}
	}
	if len(labels) > 20 || !slices.IsSorted(labels) {
		return "its labels are not in the canonical form"
	}
	return ""
}

const forever = "templates:\n  small:\n    labels: [linux, small]\n    image: " + enginetest.Image + "\n    command: [/bin/sleep, \"600\"]\n" +
	"    cpu: 0.5\n    memory: 64m\n    max_concurrency: 4\n"

// Every container of ours is one that the reference takes for its own, and is made
// as it makes them.
func TestTheReferenceAdoptsWhatWeLeave(t *testing.T) {
	for _, generation := range generationNames {
		t.Run(generation, func(t *testing.T) {
			file := forever
			warm := 0
			if generation == "head" {
				warm, file = 1, file+"    target_concurrency: 1\n"
			}
			d := newDock(t, generation, templates(t, file))
			delete(d.env, "SHIPFOX_PROVISIONER_DOCKER_NETWORK")
			model := d.asReference(generation, provisioner.Ref{ID: newID(), Labels: map[string]string{provisioner.LabelReservation: newID(), shipfox.LabelInstance: newID()}}, "/bin/sleep", "600")
			d.run(model)
			like, err := d.engine.ContainerInspect(d.ctx(), model)
			require.NoError(t, err)
			require.Equal(t, "", referenceAdopts(generation, d.owner, []string{"small"}, d.containers()[0]), "the predicate knows the reference's own")
			d.remove(model)

			p := d.start()
			running := func(want int) {
				t.Helper()
				require.Eventually(t, func() bool {
					n := 0
					for _, c := range d.containers() {
						if c.State == "running" {
							n++
						}
					}
					return n == want
				}, patience, 50*time.Millisecond)
			}
			running(warm)
			d.world.Submit(t, 2, "true", "linux")
			running(warm + 2)
			p.kill()
			for _, c := range d.containers() {
				require.Equal(t, "", referenceAdopts(generation, d.owner, []string{"small"}, c))
				if c.Labels["shipfox.reservation_id"] == "" {
					warm--
				}
				full, err := d.engine.ContainerInspect(d.ctx(), c.ID)
				require.NoError(t, err)
				sameMaking(t, generation, like, full)
			}
			require.Zero(t, warm, "without a reservation")
		})
	}
}

func sameMaking(t *testing.T, generation string, like, ours container.InspectResponse) {
	t.Helper()
	var names []string
	for _, entry := range ours.Config.Env {
		if name, _, _ := strings.Cut(entry, "="); name != "PATH" { // the image's
			names = append(names, name)
		}
	}
	require.ElementsMatch(t, referenceEnv(generation), names)
	require.Equal(t, slices.Sorted(maps.Keys(like.NetworkSettings.Networks)), slices.Sorted(maps.Keys(ours.NetworkSettings.Networks)))
	require.Equal(t, like.Config.User, ours.Config.User)
	require.Equal(t, like.Config.Entrypoint, ours.Config.Entrypoint)
	theirs, made := *like.HostConfig, *ours.HostConfig
	require.Equal(t, made.Memory, made.MemorySwap, "documented: swap counts as memory")
	made.MemorySwap = theirs.MemorySwap
	if made.PidsLimit != nil && *made.PidsLimit <= 0 {
		made.PidsLimit = theirs.PidsLimit // two words for no bound
	}
	if len(made.ExtraHosts) == 0 {
		made.ExtraHosts = theirs.ExtraHosts
	}
	was, err := json.Marshal(theirs)
	require.NoError(t, err)
	is, err := json.Marshal(made)
	require.NoError(t, err)
	require.JSONEq(t, string(was), string(is))
}
