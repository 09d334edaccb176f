package provisioner

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/template"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// TestPlanTranscripts reads snapshots from testdata/plan, one a paragraph in
// the little language of parseSnapshot, and compares what Plan makes of them
// with the lines behind "->". Renew with -update and read the diff.
func TestPlanTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var out strings.Builder
			for i, paragraph := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
				if i > 0 {
					out.WriteString("\n")
				}
				s, input := parseSnapshot(t, paragraph)
				out.WriteString(input)
				for _, a := range Plan(s) {
					fmt.Fprintf(&out, "-> %s\n", a)
				}
			}
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(out.String()), 0o644))
				return
			}
			require.Equal(t, string(text), out.String())
		})
	}
}

// midnight is t=0 of the transcripts.
var midnight = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(text string) time.Time {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return midnight.Add(d)
}

// parseSnapshot reads lines of "noun name key=value …"; times are durations
// since midnight. It returns the input without the answer.
func parseSnapshot(t *testing.T, paragraph string) (Snapshot, string) {
	var templates []template.Template
	s := Snapshot{
		Now: midnight.Add(time.Hour), Limits: Limits{}.withDefaults(), Targets: map[string]Target{}, Lanes: map[string]Lane{},
		Able:  Abilities{Announce: true, Facts: true, Retire: true, Warm: true},
		Began: midnight.Add(time.Hour - time.Second), Observed: true, Watched: true, ReportBatch: reportBatch,
	}
	s.List.Began, s.Facts.Began, s.Size.Began, s.RoomBegan = s.Began, s.Began, s.Began, s.Began
	s.Poll.Busy = true
	s.Poll.Began = s.Now
	var input strings.Builder
	for scan := bufio.NewScanner(strings.NewReader(paragraph)); scan.Scan(); {
		line := scan.Text()
		if strings.HasPrefix(line, "->") {
			break
		}
		input.WriteString(line + "\n")
		words := strings.Fields(line)
		if strings.HasPrefix(line, "#") || len(words) < 2 {
			continue
		}
		v := values(words[2:])
		switch name := words[1]; words[0] {
		case "template":
			templates = append(templates, template.Template{
				Key: name, Labels: strings.Split(v.text("labels", "x"), ","), CPU: float64(v.number("cpu", 1)),
				MaxConcurrency: v.number("max", 10), MinIdle: v.number("min_idle", 0), TargetConcurrency: v.number("target", 0),
			})
			lane := s.Lanes[name]
			lane.Room = v.number("room", 0)
			s.Able.Capacity = s.Able.Capacity || lane.Room > 0
			lane.Failures, lane.Until, lane.LastFailure = v.number("failures", 0), v.time("until"), v.time("failed")
			lane.Prepared, lane.LaunchTook = v.time("prepared"), v.duration("took", 0)
			s.Lanes[name] = lane
		case "grant":
			s.Grants = append(s.Grants, HeldGrant{
				Grant: Grant{Reservation: name, Labels: strings.Split(v.text("labels", "x"), ","), Count: v.number("left", 1)},
				Left:  v.number("left", 1), Expires: v.time("expires"),
			})
		case "target":
			s.Targets[name] = Target{Template: name, Count: v.number("count", 0), ReadAt: v.time("read")}
		case "runner":
			s.Runners = append(s.Runners, parseRunner(s, name, v))
		case "set":
			setSnapshot(t, &s, name, v)
		default:
			t.Fatalf("what is %q?", line)
		}
	}
	s.Index = template.NewIndex(templates)
	for _, tmpl := range templates {
		s.Order = append(s.Order, tmpl.Key)
	}
	s.Advertised = Advertise(s)
	return s, input.String()
}

func parseRunner(s Snapshot, id string, v pairs) *Runner {
	r := &Runner{
		ID: id, Template: v.text("template", "a"), Reservation: v.text("reservation", ""), Phase: Phase(v.text("phase", "launched")),
		Since: s.Now, Born: s.Now.Add(-v.duration("age", time.Minute)), Begun: s.Now.Add(-v.duration("age", time.Minute)),
		RegistrationDeadline: s.Limits.RegistrationDeadline, MaxLifetime: s.Limits.MaxLifetime,
		Expires: v.time("expires"), Ended: v.time("ended"), Untold: v.number("untold", 0),
		Told: EventState(v.text("told", "")), ToldAt: s.Now.Add(-v.duration("told_ago", 0)),
		Removing: v.text("removing", ""), Busy: v.text("deed", "") != "", IdleSince: v.time("idle"),
	}
	if r.Phase == Launched || r.Phase == Uncertain { // seen, or to be seen, by the last list
		r.Since = s.Began.Add(-time.Second)
	}
	if state := v.text("state", ""); state != "" {
		r.Seen = &backend.Runner{ID: id, State: backend.State(state)}
		r.StateSince = s.Now.Add(-v.duration("state_for", 0))
	}
	known := map[string]Known{"": Unknown, "no": No, "yes": Yes}
	r.Fact = Fact{Runner: id, Registered: known[v.text("registered", "")], Busy: known[v.text("busy", "")],
		Unwanted: v.text("unwanted", "") != "", Reason: v.text("unwanted", "")}
	r.Working = v.text("working", "") != ""
	if v["asked_ago"] != "" {
		r.FactAt = s.Now.Add(-v.duration("asked_ago", 0))
	}
	r.judged = true
	return r
}

func setSnapshot(t *testing.T, s *Snapshot, name string, v pairs) {
	switch name {
	case "stopping":
		s.Stopping = true
	case "unobserved":
		s.Observed = false
	case "woken":
		s.Woken = true
		if took := v.duration("took", 0); took > 0 { // the last list ended just now
			s.List.Began, s.List.Done = s.Now.Add(-took), s.Now
		}
	case "prepare":
		s.Able.Prepare = true
	case "cold":
		s.Able.Warm = false
	case "facts": // and they are due
		s.Able.Facts, s.Facts = true, Call{}
	case "no-retire":
		s.Able.Retire = false
	case "idle-poller":
		s.Poll.Busy = false
	case "conflict":
		s.Conflict = v.time("since")
	case "outbox":
		s.Outbox = v.number("n", 0)
	case "slots":
		s.Limits.LaunchParallelism = v.number("n", 0)
	default:
		t.Fatalf("what is set %q?", name)
	}
}

type pairs map[string]string

func values(words []string) pairs {
	v := pairs{}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		v[key] = value
	}
	return v
}

func (v pairs) text(key, otherwise string) string {
	if value, ok := v[key]; ok {
		return value
	}
	return otherwise
}

func (v pairs) number(key string, otherwise int) int {
	n, err := strconv.Atoi(v.text(key, strconv.Itoa(otherwise)))
	if err != nil {
		panic(err)
	}
	return n
}

func (v pairs) duration(key string, otherwise time.Duration) time.Duration {
	return at(v.text(key, otherwise.String())).Sub(midnight)
}

func (v pairs) time(key string) time.Time {
	if _, ok := v[key]; !ok {
		return time.Time{}
	}
	return at(v[key])
}

// manyTemplates and manyGrants are the size at which Plan is measured.
func manySnapshot(templates, grants int) Snapshot {
	s := Snapshot{
		Now: midnight, Limits: Limits{}.withDefaults(), Began: midnight, Observed: true, Lanes: map[string]Lane{},
		Targets: map[string]Target{}, ReportBatch: reportBatch, Able: Abilities{Announce: true, Facts: true, Retire: true, Warm: true},
	}
	var all []template.Template
	for i := range templates {
		t := template.Template{Key: fmt.Sprintf("t%04d", i), CPU: float64(i%16 + 1), MaxConcurrency: 4,
			Labels: slices.Sorted(maps.Keys(map[string]bool{"linux": true, fmt.Sprintf("size-%d", i%50): true, fmt.Sprintf("team-%d", i): true}))}
		all = append(all, t)
		s.Order = append(s.Order, t.Key)
		s.Lanes[t.Key] = Lane{}
	}
	s.Index = template.NewIndex(all)
	for i := range grants {
		labels := [][]string{{"linux"}, {"linux", fmt.Sprintf("size-%d", i%50)}, {fmt.Sprintf("team-%d", i)}}[i%3]
		s.Grants = append(s.Grants, HeldGrant{Grant: Grant{Reservation: fmt.Sprint("r", i), Labels: labels, Count: 3}, Left: 3})
	}
	for i := range 1000 {
		s.Runners = append(s.Runners, &Runner{ID: fmt.Sprintf("r%04d", i), Template: s.Order[i%templates], Phase: Launched, Since: midnight.Add(-time.Hour),
			Born: midnight.Add(-time.Minute), MaxLifetime: time.Hour, RegistrationDeadline: time.Minute, Seen: &backend.Runner{State: backend.Running}, Told: EventRunning, ToldAt: midnight})
	}
	return s
}

// BenchmarkPlan is one decision over 1,000 templates, 1,000 reservations and
// 1,000 live runners.
func BenchmarkPlan(b *testing.B) {
	s := manySnapshot(1000, 1000)
	for b.Loop() {
		if len(Plan(s)) == 0 {
			b.Fatal("nothing to do")
		}
	}
}
