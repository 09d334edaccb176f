package fleettest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/client"
)

// chaosEnv is how long faults go on beyond the first of each kind, such as 10m;
// default not at all.
const chaosEnv = "TEST_FLEET_CHAOS"

const (
	jobCount   = 60
	perHostMax = 3
	room       = 8 // of all hosts together
)

// caps are the hosts' own. The scale set's is in force where it is less.
var caps = map[string]int{"alpha": 4, "beta": 4, "gamma": 2}

// engines are the arguments of the hosts' engines: what runs on beta ends with its engine.
var engines = map[string][]string{"alpha": {"--live-restore"}, "gamma": {"--live-restore"}}

// One hub, three hosts, 60 jobs; an agent is killed, an engine is restarted, a cable
// is pulled, and the hub is killed. Every job ends, none runs twice, no cap is passed
// at any instant, and nothing is left.
func TestFleet(t *testing.T) {
	s := newSite(t, nil, "--lost-after", "5m")
	names := slices.Sorted(maps.Keys(caps))
	watch := newWatch()
	for _, name := range names {
		h := s.newHost(name, engines[name]...)
		h.join("--max-runners", strconv.Itoa(caps[name]), "--labels", "pool=all")
		watch.follow(h)
	}
	s.apply(scaleSet("small", "linux", fmt.Sprintf("max: 20, per_host_max: %d, registration_deadline: 20s, selector: {pool: all}", perHostMax)))

	jobs := &jobs{site: s}
	jobs.submit(6, waiting("go"))
	even := map[string]int{"alpha": 2, "beta": 2, "gamma": 2}
	eventually(t, patience, func() string { return differs("six runners on three hosts", even, watch.live()) })
	jobs.submit(jobCount-6, "sleep 0.5")
	full := map[string]int{"alpha": 3, "beta": 3, "gamma": 2}
	eventually(t, patience, func() string { return differs("as many as there may be", full, watch.live()) })
	for _, h := range s.hosts {
		h.release("go")
	}
	faults := s.faults(jobs)
	for _, fault := range []string{"agent killed", "engine restarted", "cable pulled", "hub killed"} {
		jobs.progress(5)
		faults[fault](s.hosts[map[string]string{"agent killed": "alpha", "engine restarted": "beta", "cable pulled": "gamma"}[fault]])
	}
	if text := os.Getenv(chaosEnv); text != "" {
		length, err := time.ParseDuration(text)
		require.NoError(t, err)
		s.chaos(length, jobs, faults)
	}
	jobs.ended()
	s.ready(names...)
	s.discard()
	s.empty()
	// No slot has leaked: there is room for as many as before.
	jobs.submit(room, waiting("full"))
	eventually(t, patience, func() string { return differs("room for as many as before", full, watch.live()) })
	for _, h := range s.hosts {
		h.release("full")
	}
	jobs.ended()
	s.empty()
	most := watch.stop()
	for name, limit := range full {
		require.LessOrEqual(t, most[name], limit, "the cap of host %s was passed", name)
	}
	jobs.ranOnce()
	t.Logf("%d jobs: %v; at most %v at once; started %v", len(jobs.ids), jobs.statuses(), most, watch.started())
}

// differs tells how two counts by host differ.
func differs(what string, want, have map[string]int) string {
	if maps.Equal(want, have) {
		return ""
	}
	return fmt.Sprintf("%s: %v is to be, and there is %v", what, want, have)
}

// faults are what happens to the site, by name. Each is over when it returns.
func (s *site) faults(jobs *jobs) map[string]func(*host) {
	return map[string]func(*host){
		"agent killed": func(h *host) {
			h.agent.kill()
			jobs.progress(3)
			h.startAgent()
		},
		"engine restarted": func(h *host) {
			h.daemon.Stop()
			h.daemon.Start()
		},
		"engine killed": func(h *host) {
			h.daemon.Kill()
			h.daemon.Start()
		},
		"cable pulled": func(h *host) {
			h.cut()
			eventually(s.t, patience, func() string {
				if s.host(h.name).Online {
					return "the hub does not see that a cable is pulled"
				}
				return ""
			})
			jobs.progress(3)
			h.mend()
			s.ready(h.name)
		},
		"hub killed": func(*host) {
			s.hub.kill()
			s.startHub()
		},
	}
}

// chaos has faults come, in any order, while jobs do.
func (s *site) chaos(length time.Duration, jobs *jobs, faults map[string]func(*host)) {
	names, kinds := slices.Sorted(maps.Keys(s.hosts)), slices.Sorted(maps.Keys(faults))
	done := map[string]int{}
	for end := time.Now().Add(length); time.Now().Before(end); {
		jobs.submit(12, "sleep 0.5")
		kind := kinds[rand.IntN(len(kinds))]
		faults[kind](s.hosts[names[rand.IntN(len(names))]])
		done[kind]++
		jobs.progress(8)
	}
	s.t.Logf("chaos: %v", done)
}

// jobs are those of the test. Each leaves a line in a file of its own each time that
// it runs.
type jobs struct {
	site *site
	ids  []string
}

func (j *jobs) submit(n int, script string) {
	j.site.t.Helper()
	c := j.site.client()
	for range n {
		spec := client.JobSpec{Labels: []string{"linux"}, Run: fmt.Sprintf("echo ran >>/marks/job-%d; %s", len(j.ids), script)}
		var job client.Job
		require.NoError(j.site.t, client.Patiently(j.site.t.Context(), func() (err error) {
			job, err = c.Submit(j.site.t.Context(), spec, fmt.Sprint("job-", len(j.ids)))
			return err
		}))
		j.ids = append(j.ids, job.ID)
	}
}

// all are the jobs as they are now.
func (j *jobs) all() []client.JobSummary {
	t := j.site.t
	t.Helper()
	var all []client.JobSummary
	for cursor := ""; ; {
		page, next, err := j.site.client().Jobs(t.Context(), client.Filter{Cursor: cursor, Limit: 500})
		require.NoError(t, err)
		all = append(all, page...)
		if next == "" {
			return all
		}
		cursor = next
	}
}

func (j *jobs) final() (n int) {
	for _, job := range j.all() {
		if job.Final() {
			n++
		}
	}
	return n
}

// progress waits until n more jobs have ended, or all have.
func (j *jobs) progress(n int) {
	j.site.t.Helper()
	j.reach(min(j.final()+n, len(j.ids)), patience)
}

// reach waits until so many jobs have ended.
func (j *jobs) reach(goal int, limit time.Duration) {
	j.site.t.Helper()
	eventually(j.site.t, limit, func() string {
		if now := j.final(); now < goal {
			return fmt.Sprintf("%d of %d jobs have ended, and %d are waited for: %v; runners %+v", now, len(j.ids), goal, j.open(), j.site.allRunners())
		}
		return ""
	})
}

// ended waits for all of them. A launch whose answer was lost with its engine is one
// for two minutes, and so long its job waits.
func (j *jobs) ended() {
	j.site.t.Helper()
	j.reach(len(j.ids), 3*time.Minute+patience)
	require.Len(j.site.t, j.all(), len(j.ids), "none is lost, and none is there twice")
}

// open are the jobs that have not ended.
func (j *jobs) open() (open []string) {
	for _, job := range j.all() {
		if !job.Final() {
			open = append(open, fmt.Sprintf("%s is %s with runner %s", job.ID, job.Status, job.Runner))
		}
	}
	return open
}

func (j *jobs) statuses() map[string]int {
	out := map[string]int{}
	for _, job := range j.all() {
		out[strings.TrimSpace(job.Status+" "+job.Reason)]++
	}
	return out
}

// ranOnce reads what the jobs have left on the hosts.
func (j *jobs) ranOnce() {
	t := j.site.t
	t.Helper()
	ran := map[string]int{}
	for _, h := range j.site.hosts {
		files, err := filepath.Glob(filepath.Join(h.marks(), "job-*"))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			ran[filepath.Base(file)] += strings.Count(string(text), "ran\n")
		}
	}
	for i, id := range j.ids {
		job := j.site.job(id)
		times := ran[fmt.Sprint("job-", i)]
		require.LessOrEqual(t, times, 1, "job %d ran more than once: %+v", i, job)
		if job.Succeeded() {
			require.Equal(t, 1, times, "job %d has succeeded, and did not run", i)
		}
		require.Contains(t, []string{"succeeded", "runner-lost", "cancelled"}, job.Status, "%+v", job)
	}
}

// watch counts the containers that live, as the hosts' containerds tell it: through
// restarts of everything else.
type watch struct {
	mu    sync.Mutex
	lives map[string]string // container to host
	most  map[string]int    // by host
	born  map[string]int
	ends  []func()
}

func newWatch() *watch {
	return &watch{lives: map[string]string{}, most: map[string]int{}, born: map[string]int{}}
}

func (w *watch) follow(h *host) {
	w.ends = append(w.ends, h.daemon.Events(func(event, container string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch event {
		case "start":
			w.lives[container] = h.name
			w.born[h.name]++
		case "delete":
			delete(w.lives, container)
		}
		for name, n := range w.count() {
			w.most[name] = max(w.most[name], n)
		}
	}))
}

func (w *watch) count() map[string]int {
	out := map[string]int{}
	for _, name := range w.lives {
		out[name]++
	}
	return out
}

func (w *watch) live() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count()
}

func (w *watch) started() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.born)
}

// stop ends the counting, and tells how many lived at once at most.
func (w *watch) stop() map[string]int {
	for _, end := range w.ends {
		end()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.most)
}
