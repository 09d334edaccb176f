// Package waiting says why a job waits: a pure function from what the hub knows of
// its scale sets and hosts to a word for programs and a line for people.
package waiting

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/template"
)

// Job is the one that waits.
type Job struct {
	State  queue.State
	Labels []string // canonical
	// Runner is the one that it was given to, if any.
	Runner string
}

// Hub is what the hub knows that may hold a job up. It is looked at for jobs that no
// runner was launched for.
type Hub struct {
	// Full: its disk is, and nothing is given away.
	Full bool
	// Trouble is why the hub's own loop takes no jobs; empty: it does.
	Trouble string
	// Queued is how many jobs wait in all, this one included.
	Queued int
	// Others is how many tokens for other provisioners are good.
	Others int
	// Sets are the scale sets that take their jobs from the hub's queue.
	Sets []Set
}

// Set is a scale set.
type Set struct {
	Name         string
	Labels       []string
	Runners, Max int
	// Hosts tells of each host why it can't get the next runner.
	Hosts []fleet.Verdict
	// Failing says why its newest runners came to nothing, one after the other; empty:
	// they didn't.
	Failing string
	// RetryIn is how long nothing is tried after failures; 0: it does not wait for that.
	RetryIn time.Duration
}

// The codes, as client.Waiting has them.
const (
	none        = "none"
	starting    = "starting"
	reserved    = "reserved"
	next        = "next"
	full        = "full"
	failing     = "failing"
	backingOff  = "backing-off"
	hostsAway   = "hosts-away"
	noHost      = "no-host"
	notTaken    = "not-taken"
	noScaleSet  = "no-scale-set"
	storageFull = "storage-full"
)

// rank is the order in which the codes of several scale sets are told: the best first.
var rank = []string{next, full, failing, backingOff, hostsAway, noHost}

// stuck are the codes with which a promise of the hub's own loop leads to no runner yet.
var stuck = []string{failing, backingOff, hostsAway, noHost}

// most is how many scale sets, or kinds of hosts, one line tells of.
const most = 3

// Explain says why a job waits.
func Explain(j Job, h Hub) client.Waiting {
	w := client.Waiting{Status: string(j.State), ScaleSets: []client.WaitingOnSet{}}
	switch {
	case j.State == queue.StateLaunched:
		w.Code, w.Text = starting, fmt.Sprintf("its runner %s was launched, and is not there yet", j.Runner)
	case j.State == queue.StateReserved:
		w.ScaleSets = covering(j, h.Sets)
		w.Code, w.Text = reserved, "it is promised to a provisioner, which makes a runner for it"
		if code, text := queued(j, h, w.ScaleSets); slices.Contains(stuck, code) {
			w.Code, w.Text = code, "it is promised to a provisioner; "+text
		}
	case j.State != queue.StateQueued:
		w.Code = none
	default:
		w.ScaleSets = covering(j, h.Sets)
		w.Code, w.Text = queued(j, h, w.ScaleSets)
	}
	return w
}

func covering(j Job, sets []Set) []client.WaitingOnSet {
	out := []client.WaitingOnSet{}
	for _, s := range sets {
		if template.Covers(s.Labels, j.Labels) {
			code, text := s.explain()
			out = append(out, client.WaitingOnSet{Name: s.Name, Runners: s.Runners, Max: s.Max, Code: code, Text: text})
		}
	}
	slices.SortFunc(out, func(a, b client.WaitingOnSet) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func queued(j Job, h Hub, sets []client.WaitingOnSet) (code, text string) {
	switch {
	case h.Full:
		return storageFull, "the hub's disk is too full: nothing is given to runners until there is room"
	case len(sets) == 0:
		return noScaleSet, lacking(j, h)
	case h.Trouble != "":
		return notTaken, "the hub takes no jobs for its scale sets now: " + h.Trouble
	}
	best := slices.MinFunc(sets, func(a, b client.WaitingOnSet) int { return slices.Index(rank, a.Code) - slices.Index(rank, b.Code) })
	if best.Code == next {
		return next, fmt.Sprintf("scale set %s: %s: a runner comes (jobs that wait in all: %d)", best.Name, best.Text, h.Queued)
	}
	parts := []string{"scale set " + best.Name + ": " + best.Text}
	for _, s := range sets {
		if s.Name != best.Name {
			parts = append(parts, s.Name+": "+s.Text)
		}
	}
	return best.Code, listed(parts, "; ")
}

// lacking says which of a job's labels nobody has.
func lacking(j Job, h Hub) string {
	var nobody []string
	for _, label := range j.Labels {
		if !slices.ContainsFunc(h.Sets, func(s Set) bool { return slices.Contains(s.Labels, label) }) {
			nobody = append(nobody, label)
		}
	}
	text := "no scale set has all of the labels " + strings.Join(j.Labels, ",")
	switch {
	case len(h.Sets) == 0:
		text = "there is no scale set"
	case len(nobody) > 0:
		text = "no scale set has the label " + strings.Join(nobody, ", nor one ")
	}
	if h.Others > 0 {
		text += ", and no provisioner outside of the hub has asked for it"
	}
	return text
}

// explain says why a scale set gives no runner now, and how long it waits after
// failures.
func (s Set) explain() (code, text string) {
	code, text = s.obstacle()
	if s.RetryIn > 0 && (code == failing || code == backingOff) {
		text += fmt.Sprintf("; tried again in %s", (s.RetryIn + time.Second - 1).Truncate(time.Second))
	}
	return code, text
}

func (s Set) obstacle() (code, text string) {
	if s.Runners >= s.Max {
		return full, fmt.Sprintf("it has all of its runners: %d of %d", s.Runners, s.Max)
	}
	if s.Failing != "" {
		return failing, s.Failing
	}
	var groups []group
	for _, v := range s.Hosts {
		word, detail, _ := strings.Cut(v.Reason, ": ")
		switch word {
		case "":
			if v.LastFailure != "" {
				return next, fmt.Sprintf("host %s has room, and the last launch there failed (%s)", v.Name, v.LastFailure)
			}
			return next, "it has room"
		case string(placement.NotTargeted):
			continue
		}
		i := slices.IndexFunc(groups, func(g group) bool { return g.word == word })
		if i < 0 {
			groups = append(groups, group{word: word, detail: detail, code: codeOf(word)})
			i = len(groups) - 1
		}
		groups[i].hosts = append(groups[i].hosts, v.Name)
	}
	switch {
	case len(s.Hosts) == 0:
		return noHost, "the hub has no hosts"
	case len(groups) == 0:
		return noHost, "it targets none of the hub's hosts"
	}
	slices.SortStableFunc(groups, func(a, b group) int { return slices.Index(rank, a.code) - slices.Index(rank, b.code) })
	parts := make([]string, len(groups))
	for i, g := range groups {
		parts[i] = g.String()
	}
	return groups[0].code, listed(parts, ", ")
}

// group is the hosts with one kind of obstacle.
type group struct {
	word, detail, code string
	hosts              []string
}

func (g group) String() string {
	text := fmt.Sprintf("%d hosts: %s", len(g.hosts), g.word)
	if len(g.hosts) == 1 {
		text = fmt.Sprintf("host %s: %s", g.hosts[0], g.word)
	}
	if g.detail != "" && (len(g.hosts) == 1 || g.code == backingOff) {
		text += " (" + g.detail + ")"
	}
	return text
}

// codeOf is the code of an obstacle, which begins a verdict's Reason. What is over
// when other runners have ended is full.
func codeOf(word string) string {
	switch placement.Obstacle(word) {
	case placement.Offline, placement.NeedsUpdate, placement.NotReady, placement.Blind, placement.Cordoned, placement.Silent:
		return hostsAway
	case placement.BackingOff, placement.Tried:
		return backingOff
	case placement.Platform, placement.NoRuntime:
		return noHost
	}
	return full
}

// listed joins the first few.
func listed(parts []string, by string) string {
	if len(parts) > most {
		parts = append(parts[:most:most], "and more")
	}
	return strings.Join(parts, by)
}
