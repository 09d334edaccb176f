package scalesets

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/tokens"
)

// Condition is how a scale set does, in a word. Told: add at the end only.
type Condition string

// The conditions.
const (
	// Ready: a host can take its next runner.
	Ready Condition = "ready"
	// Full: its hosts have no room now, and will have when runners end.
	Full Condition = "full"
	// Failing: its runners come to nothing.
	Failing Condition = "failing"
	// Blocked: no host can take a runner, whatever ends.
	Blocked Condition = "blocked"
)

// Status is how a scale set does, and what to do about it.
type Status struct {
	Condition Condition
	// Text is one sentence that says what is wrong and what to do, without secrets;
	// empty of one that is ready.
	Text string
	// RetryAt is when its next runner is tried after failures: the pause of its loop is
	// over then, and that of the first of its hosts; zero: it waits for no pause, or
	// for one that ends with a launch under way.
	RetryAt time.Time
	// Ends is what became of its newest runners, since the hub began.
	Ends provisioner.Ends
}

// Sight is what others see of a scale set.
type Sight struct {
	// Verdicts are those of all hosts: fleet.Fleet's Explain.
	Verdicts []fleet.Verdict
	// Held is how many runners, of whatever scale set, each host holds, by its id.
	Held map[string]int
	// Plane says why its control plane gives no jobs; empty: nothing is wrong there.
	Plane string
	// Loop is what its loop tells of it.
	Loop provisioner.TemplateHealth
	// RunnerURL is where its runners reach their control plane.
	RunnerURL string
}

// Status makes one of what is seen of the scale set. What is worse comes first: no
// host, runners that come to nothing, no room.
func (s ScaleSet) Status(see Sight) Status {
	out := Status{Condition: Ready, Ends: see.Loop.Ends}
	targets := slices.DeleteFunc(slices.Clone(see.Verdicts), func(v fleet.Verdict) bool { return obstacle(v) == placement.NotTargeted })
	fails := count(targets, failing)
	can := count(targets, func(v fleet.Verdict) bool { return v.Reason == "" && !failing(v) || frees(v, see.Held) })
	now := count(targets, func(v fleet.Verdict) bool { return v.Reason == "" })
	row := see.Loop.Ends.Row
	switch {
	case len(targets) == 0:
		out.Condition, out.Text = Blocked, s.untargeted(len(see.Verdicts))
	case can+fails == 0:
		out.Condition, out.Text = Blocked, "none of its hosts can take a runner: "+reasons(targets)
	case row.Count >= manyCrashes, row.Count > 0 && can == 0:
		out.Condition, out.Text = Failing, row.String()+": "+s.advice(row, see.RunnerURL)
	case can == 0:
		out.Condition, out.Text = Failing, "launches fail on its hosts: "+reasons(targets)
	case see.Loop.Failures > 0:
		out.Condition, out.Text = Failing, fmt.Sprintf("it waits after %s: %s", times(see.Loop.Failures), see.Loop.Reason)
	case see.Plane != "":
		out.Condition, out.Text = Blocked, fmt.Sprintf("its control plane (%s) gives no jobs: %s", s.ControlPlane, see.Plane)
	case now == 0:
		out.Condition, out.Text = Full, "no host has room now: "+reasons(targets)
	}
	out.RetryAt = retryAt(targets, see.Loop, time.Now())
	out.Text = oneLine(out.Text)
	return out
}

// retryAt is Status.RetryAt: the later of what its hosts say, and its loop.
func retryAt(targets []fleet.Verdict, loop provisioner.TemplateHealth, now time.Time) (at time.Time) {
	for _, v := range targets {
		if v.Reason == "" {
			at = time.Time{}
			break
		}
		if !v.RetryAt.IsZero() && (at.IsZero() || v.RetryAt.Before(at)) {
			at = v.RetryAt
		}
	}
	if loop.Failures > 0 && loop.Until.After(at) {
		at = loop.Until
	}
	if !at.After(now) {
		return time.Time{}
	}
	return at
}

// maxText bounds Status.Text, in bytes.
const maxText = 800

func oneLine(text string) string {
	text = tokens.Redact(strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " "))
	if len(text) <= maxText {
		return text
	}
	const mark = "…"
	return strings.ToValidUTF8(text[:maxText-len(mark)], "") + mark
}

// manyCrashes in a row are told whatever else works.
const manyCrashes = 3

func count(verdicts []fleet.Verdict, is func(fleet.Verdict) bool) (n int) {
	for _, v := range verdicts {
		if is(v) {
			n++
		}
	}
	return n
}

// obstacle is what a verdict's reason begins with.
func obstacle(v fleet.Verdict) placement.Obstacle {
	word, _, _ := strings.Cut(v.Reason, ":")
	return placement.Obstacle(word)
}

// failing says whether the last launch on the host failed, be it that it waits for that
// or may try again.
func failing(v fleet.Verdict) bool {
	return obstacle(v) == placement.BackingOff || v.Reason == "" && v.LastFailure != ""
}

// frees says whether the host may have room when runners have ended. One that holds
// none and lacks something lacks it for good.
func frees(v fleet.Verdict, held map[string]int) bool {
	switch o := obstacle(v); o {
	case placement.NoCPU, placement.NoMemory, placement.NoGPU:
		return held[v.Host] > 0
	default:
		return o.OfRoom() || o == placement.Silent
	}
}

func times(n int) string {
	if n == 1 {
		return "a failure"
	}
	return fmt.Sprintf("%d failures in a row", n)
}

// mostReasons is how many hosts are told of.
const mostReasons = 3

// reasons tells of the hosts that can't take a runner, or failed, one by one.
func reasons(targets []fleet.Verdict) string {
	var parts []string
	for _, v := range targets {
		name := cmp.Or(v.Name, v.Host)
		switch {
		case v.Reason != "":
			parts = append(parts, name+" is "+v.Reason)
		case v.LastFailure != "":
			parts = append(parts, name+" tries again after: "+v.LastFailure)
		}
	}
	if more := len(parts) - mostReasons; more > 0 {
		parts = append(parts[:mostReasons], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

// untargeted says why a scale set has no host at all.
func (s ScaleSet) untargeted(hosts int) string {
	var labels []string
	for key, value := range s.Selector {
		labels = append(labels, key+"="+value)
	}
	slices.Sort(labels)
	selector := strings.Join(labels, ",")
	switch {
	case len(s.Hosts) == 0 && selector == "":
		return "it has no hosts: name some in hosts, or ask for labels in selector"
	case hosts == 0:
		return "the hub has no hosts: add one (slipway hosts add NAME)"
	case selector == "":
		return "the hosts that it names were removed: name others in hosts"
	default:
		return fmt.Sprintf("no host has the labels of its selector (%s): give them to one (slipway hosts set NAME --labels %s)", selector, selector)
	}
}
