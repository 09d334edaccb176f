package fleettest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// site is a hub in a network namespace, and hosts in others that are joined to it
// by a switch in the hub's.
type site struct {
	t     testing.TB
	net   *namespace
	hub   *process
	hubs  []string // the hub's arguments
	env   map[string]string
	token string
	url   string
	hosts map[string]*host
}

// hubAddress is the hub's on the switch. Nothing else lives in that network, so a
// port can be fixed.
const hubAddress = "10.213.0.1"

// newSite starts a hub with arguments besides its own.
func newSite(t testing.TB, env map[string]string, args ...string) *site {
	t.Helper()
	s := &site{t: t, net: newNamespace(t), env: env, hosts: map[string]*host{}, url: "http://" + hubAddress + ":8570"}
	s.net.ip("link add lan type bridge")
	s.net.ip("addr add " + hubAddress + "/16 dev lan")
	s.net.ip("link set lan up")
	s.hubs = append([]string{
		"--data", filepath.Join(t.TempDir(), "data"), "--listen", hubAddress + ":8570", "--public-url", s.url, "--insecure-http",
		"--min-free", "1", "--min-free-percent", "0.0001", "--reserve", "4KiB", "--log-level", "debug",
		"--heartbeat", "1s", "--lease-ttl", "15s",
	}, args...)
	s.startHub()
	s.token = s.hub.after("shown this once:\n")
	return s
}

// newLocalSite starts a hub for its own machine alone, with as few settings as may be.
func newLocalSite(t testing.TB, n *namespace, env map[string]string) *site {
	t.Helper()
	s := &site{t: t, net: n, env: env, hosts: map[string]*host{}, url: "http://127.0.0.1:8570"}
	s.hubs = []string{"--data", filepath.Join(t.TempDir(), "data"), "--min-free", "1", "--min-free-percent", "0.0001", "--log-level", "debug"}
	s.startHub()
	s.token = s.hub.after("shown this once:\n")
	return s
}

// startHub starts the hub, for the first time or again.
func (s *site) startHub() {
	s.t.Helper()
	s.hub = start(s.net, s.env, "slipway-hub", s.hubs...)
	s.hub.after("listening on ")
}

// client speaks to the hub.
func (s *site) client() *client.Client {
	s.t.Helper()
	c, err := client.New(client.Config{URL: s.url, Token: s.token, HTTP: s.net.client()})
	require.NoError(s.t, err)
	return c
}

// cli runs slipway as an operator does, wants it to do what it was told, and returns
// what it printed.
func (s *site) cli(args ...string) string {
	s.t.Helper()
	out, problem, err := s.try(args...)
	require.NoError(s.t, err, "slipway %s: %s%s", strings.Join(args, " "), out, problem)
	return out
}

// refused wants slipway to say no, and returns why.
func (s *site) refused(args ...string) string {
	s.t.Helper()
	out, problem, err := s.try(args...)
	require.Error(s.t, err, "slipway %s: %s", strings.Join(args, " "), out)
	return problem
}

func (s *site) try(args ...string) (out, problem string, err error) {
	s.t.Helper()
	return run(s.net, map[string]string{"SLIPWAY_URL": s.url, "SLIPWAY_TOKEN": s.token}, "", "slipway", args...)
}

// apply makes the scale sets of the text.
func (s *site) apply(text string) {
	s.t.Helper()
	_, problem, err := run(s.net, map[string]string{"SLIPWAY_URL": s.url, "SLIPWAY_TOKEN": s.token}, "version: 1\nscale_sets:\n"+text, "slipway", "scale-sets", "apply", "--yes", "-f", "-")
	require.NoError(s.t, err, problem)
}

// submit submits a job through slipway, and returns its id.
func (s *site) submit(labels, script string) string {
	s.t.Helper()
	id := strings.TrimSpace(s.cli("jobs", "submit", "--labels", labels, "--run", script))
	require.NotEmpty(s.t, id)
	return id
}

// job is a job as it is now.
func (s *site) job(id string) client.Job {
	s.t.Helper()
	job, err := s.client().Job(s.t.Context(), id)
	require.NoError(s.t, err)
	return job
}

// reaches waits until a job has a status.
func (s *site) reaches(id, status string) client.Job {
	s.t.Helper()
	var job client.Job
	eventually(s.t, patience, func() string {
		job = s.job(id)
		if job.Status != status {
			return fmt.Sprintf("job %s is to be %s and is %s (%s); runners %v", id, status, job.Status, job.Reason, s.runners())
		}
		return ""
	})
	return job
}

// host is a host as the hub has it.
func (s *site) host(name string) client.Host {
	s.t.Helper()
	h, err := s.client().Host(s.t.Context(), name)
	require.NoError(s.t, err)
	return h
}

// ready waits until hosts can be given runners.
func (s *site) ready(names ...string) {
	s.t.Helper()
	for _, name := range names {
		eventually(s.t, patience, func() string {
			if h := s.host(name); !h.Ready || !h.Online {
				return fmt.Sprintf("host %s is not ready: %+v", name, h)
			}
			return ""
		})
	}
}

// runners are the ids of the runners by host, those that have not ended.
func (s *site) runners() map[string][]string {
	s.t.Helper()
	out := map[string][]string{}
	for _, r := range s.allRunners() {
		if !r.Ended() {
			out[r.Host] = append(out[r.Host], r.ID)
		}
	}
	return out
}

func (s *site) allRunners() (all []client.Runner) {
	s.t.Helper()
	for cursor := ""; ; {
		page, next, err := s.client().Runners(s.t.Context(), client.RunnerFilter{Cursor: cursor})
		require.NoError(s.t, err)
		all = append(all, page...)
		if next == "" {
			return all
		}
		cursor = next
	}
}

// container is the name of the container that a job runs in.
func (s *site) container(job string) string {
	s.t.Helper()
	all := s.allRunners()
	for _, r := range all {
		if r.Job == job {
			return "slipway-" + r.ID
		}
	}
	require.FailNow(s.t, "no runner has the job", "%s of %+v", job, all)
	return ""
}

// discard takes away the failed runners that the hub keeps for people to look at.
func (s *site) discard() {
	s.t.Helper()
	for _, r := range s.allRunners() {
		if r.State == "failed" {
			s.cli("runners", "stop", r.ID)
		}
	}
}

// empty waits until nothing of any runner is left: at the hub, and on the engines
// of the hosts.
func (s *site) empty() {
	s.t.Helper()
	eventually(s.t, patience, func() string {
		if left := s.allRunners(); len(left) > 0 {
			return fmt.Sprintf("runners are left at the hub: %+v", left)
		}
		for _, h := range s.hosts {
			if left := h.containers(); len(left) > 0 {
				return fmt.Sprintf("containers are left on %s: %v", h.name, left)
			}
			if held := s.host(h.name).Runners; held > 0 {
				return fmt.Sprintf("host %s holds %d slots", h.name, held)
			}
		}
		return ""
	})
}

func with(env map[string]string, pairs ...string) map[string]string {
	out := maps.Clone(env)
	if out == nil {
		out = map[string]string{}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

// scaleSet is a scale set of the test's image, in YAML, with the further fields.
func scaleSet(name, labels, fields string) string {
	return fmt.Sprintf("  %s: {labels: [%s], image: %q, inject_runner: true, pull_policy: never, cpu: 0.1, memory: 64MiB, mounts: [{volume: %s, target: /marks}], %s}\n",
		name, labels, enginetest.Image, volume, fields)
}

// get reads a route of the hub.
func (s *site) get(path string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	require.NoError(s.t, err)
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := s.net.client().Do(req)
	require.NoError(s.t, err)
	text, err := io.ReadAll(res.Body)
	require.NoError(s.t, errors.Join(err, res.Body.Close()))
	require.Equal(s.t, http.StatusOK, res.StatusCode, "%s: %s", path, text)
	return string(text)
}
