package scalesets_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// verdicts are of hosts b1, b2, …; an empty one can take a runner.
func verdicts(reasons ...string) (out []fleet.Verdict) {
	for i, reason := range reasons {
		id := string(rune('1' + i))
		out = append(out, fleet.Verdict{Host: "id-" + id, Name: "b" + id, Reason: reason})
	}
	return out
}

func row(count int, registered bool, last provisioner.End, hosts ...string) provisioner.TemplateHealth {
	last.Runner = "r-9"
	return provisioner.TemplateHealth{Ends: provisioner.Ends{Row: provisioner.Row{Count: count, Registered: registered, Hosts: hosts, Last: last}}}
}

func exit(code int, text string) provisioner.End {
	return provisioner.End{Reason: "exit-code", ExitCode: &code, Text: text}
}

// One sentence says what is wrong and what to do.
func TestStatusSaysWhatToDo(t *testing.T) {
	const url = "http://hub.example.com"
	deadline := provisioner.End{Reason: provisioner.ReasonRegistrationDeadline}
	secret := tokens.New(tokens.Bootstrap).Reveal()
	named := scalesets.ScaleSet{Hosts: []string{"id-1"}, ControlPlane: "queue", Template: template.Template{Memory: 1 << 30, InjectRunner: true}}
	chosen := scalesets.ScaleSet{Selector: map[string]string{"pool": "large", "arch": "arm"}}
	plain := named
	plain.InjectRunner = false
	const away = "not targeted"
	for name, c := range map[string]struct {
		set  scalesets.ScaleSet
		see  scalesets.Sight
		want scalesets.Condition
		text string
	}{
		"fine":           {named, scalesets.Sight{Verdicts: verdicts("", away)}, scalesets.Ready, ""},
		"one of two":     {named, scalesets.Sight{Verdicts: verdicts("offline", "")}, scalesets.Ready, ""},
		"no target":      {scalesets.ScaleSet{}, scalesets.Sight{Verdicts: verdicts(away)}, scalesets.Blocked, "it has no hosts: name some in hosts, or ask for labels in selector"},
		"an empty hub":   {named, scalesets.Sight{}, scalesets.Blocked, "the hub has no hosts: add one (slipway hosts add NAME)"},
		"removed hosts":  {named, scalesets.Sight{Verdicts: verdicts(away, away)}, scalesets.Blocked, "the hosts that it names were removed: name others in hosts"},
		"a vain wish":    {chosen, scalesets.Sight{Verdicts: verdicts(away)}, scalesets.Blocked, "no host has the labels of its selector (arch=arm,pool=large): give them to one (slipway hosts set NAME --labels arch=arm,pool=large)"},
		"a runtime":      {named, scalesets.Sight{Verdicts: verdicts("without the runtime: it has runc, and one of sysbox-runc is asked for", "offline", away)}, scalesets.Blocked, "none of its hosts can take a runner: b1 is without the runtime: it has runc, and one of sysbox-runc is asked for; b2 is offline"},
		"many hosts":     {named, scalesets.Sight{Verdicts: verdicts("offline", "offline", "cordoned", "offline", "blind")}, scalesets.Blocked, "none of its hosts can take a runner: b1 is offline; b2 is offline; b3 is cordoned; and 2 more"},
		"no GPU ever":    {named, scalesets.Sight{Verdicts: verdicts("short of GPUs: 0 of 0 are free, and 1 is asked for")}, scalesets.Blocked, "none of its hosts can take a runner: b1 is short of GPUs: 0 of 0 are free, and 1 is asked for"},
		"no GPU now":     {named, scalesets.Sight{Verdicts: verdicts("short of GPUs: 0 of 1 are free, and 1 is asked for"), Held: map[string]int{"id-1": 1}}, scalesets.Full, "no host has room now: b1 is short of GPUs: 0 of 1 are free, and 1 is asked for"},
		"full":           {named, scalesets.Sight{Verdicts: verdicts("full: 4 of 4 runners", "offline")}, scalesets.Full, "no host has room now: b1 is full: 4 of 4 runners; b2 is offline"},
		"a refusal":      {named, scalesets.Sight{Verdicts: verdicts("backing off: image evil:1 is not allowed")}, scalesets.Failing, "launches fail on its hosts: b1 is backing off: image evil:1 is not allowed"},
		"and again":      {named, scalesets.Sight{Verdicts: []fleet.Verdict{{Name: "b1", LastFailure: "image evil:1 is not allowed"}}}, scalesets.Failing, "launches fail on its hosts: b1 tries again after: image evil:1 is not allowed"},
		"full and bad":   {named, scalesets.Sight{Verdicts: verdicts("full: 4 of 4 runners", "backing off: x")}, scalesets.Full, "no host has room now: b1 is full: 4 of 4 runners; b2 is backing off: x"},
		"bad and away":   {named, scalesets.Sight{Verdicts: verdicts("offline", "backing off: x")}, scalesets.Failing, "launches fail on its hosts: b1 is offline; b2 is backing off: x"},
		"another works":  {named, scalesets.Sight{Verdicts: verdicts("backing off: image evil:1 is not allowed", "")}, scalesets.Ready, ""},
		"no image":       {named, scalesets.Sight{Verdicts: verdicts(""), Loop: provisioner.TemplateHealth{Failures: 2, Reason: "prepare: no such image"}}, scalesets.Failing, "it waits after 2 failures in a row: prepare: no such image"},
		"a silent plane": {named, scalesets.Sight{Verdicts: verdicts(""), Plane: "token refused"}, scalesets.Blocked, "its control plane (queue) gives no jobs: token refused"},
		"unreachable": {named, scalesets.Sight{Verdicts: verdicts("", ""), Loop: row(12, false, deadline, "b1", "b2"), RunnerURL: url}, scalesets.Failing,
			"12 runners in a row on b1, b2 ended without registering (registration-deadline): is http://hub.example.com reachable from their containers?"},
		"a bare image": {plain, scalesets.Sight{Verdicts: verdicts(""), Loop: row(3, false, deadline, "b1"), RunnerURL: url}, scalesets.Failing,
			"3 runners in a row on b1 ended without registering (registration-deadline): is http://hub.example.com reachable from their containers? Does the image start a runner? (inject_runner puts one in)"},
		"the first waits": {named, scalesets.Sight{Verdicts: verdicts("backing off: x"), Loop: row(1, false, exit(127, "exec: no such file"), "b1"), RunnerURL: url}, scalesets.Failing,
			"a runner on b1 ended without registering (exit code 127: exec: no such file): its command is not in the image, or can't be run there; slipway runners logs r-9 may say why"},
		"one is no row": {named, scalesets.Sight{Verdicts: verdicts(""), Loop: row(2, false, deadline)}, scalesets.Ready, ""},
		"exits at once": {plain, scalesets.Sight{Verdicts: verdicts(""), Loop: row(4, false, exit(0, "")), RunnerURL: url}, scalesets.Failing,
			"4 runners in a row ended without registering (exit code 0): does the image start a runner? (inject_runner puts one in) slipway runners logs r-9 may say why"},
		"cannot register": {named, scalesets.Sight{Verdicts: verdicts(""), Loop: row(4, false, exit(1, "")), RunnerURL: url}, scalesets.Failing,
			"4 runners in a row ended without registering (exit code 1): is http://hub.example.com reachable from their containers? slipway runners logs r-9 may say why"},
		"came and left": {named, scalesets.Sight{Verdicts: verdicts(""), Loop: row(4, true, exit(9, ""))}, scalesets.Failing,
			"4 runners in a row ended without a job (exit code 9): they came to the hub and left again; slipway runners logs r-9 may say why"},
		"too little": {named, scalesets.Sight{Verdicts: verdicts(""), Loop: row(3, false, provisioner.End{Reason: "out-of-memory"})}, scalesets.Failing,
			"3 runners in a row ended without registering (out-of-memory): give it more memory than 1GiB"},
		"a policy": {named, scalesets.Sight{Verdicts: verdicts(""), Loop: row(3, false, provisioner.End{Reason: "refused", Text: "host b1: no " + secret})}, scalesets.Failing,
			"3 runners in a row could not be launched (refused: host b1: no " + tokens.Redact(secret) + "): the policy of the host does not allow it; change the scale set, or the policy there"},
	} {
		got := c.set.Status(c.see)
		require.Equal(t, c.text, got.Text, name)
		require.Equal(t, c.want, got.Condition, name)
		require.Equal(t, c.see.Loop.Ends, got.Ends, name)
	}
	long := named.Status(scalesets.Sight{Verdicts: verdicts(""), Loop: provisioner.TemplateHealth{Failures: 1, Reason: "prepare: no such image\nprepare: " + strings.Repeat("x", 2000)}}).Text
	require.Contains(t, long, "it waits after a failure: prepare: no such image prepare: xxx", "on one line")
	require.Len(t, long, 800)
	until := time.Now().Add(time.Minute)
	got := named.Status(scalesets.Sight{Verdicts: verdicts(""), Loop: provisioner.TemplateHealth{Failures: 1, Reason: "x", Until: until}})
	require.Equal(t, until, got.RetryAt)
}

// Whoever waits is told how long, wherever the pause is: the loop's, or that of hosts.
func TestStatusSaysWhenItIsTriedAgain(t *testing.T) {
	now := time.Now()
	in := func(d time.Duration) time.Time { return now.Add(d) }
	waits := func(at time.Time) fleet.Verdict { return fleet.Verdict{Reason: "backing off: x", RetryAt: at} }
	free, full := fleet.Verdict{}, fleet.Verdict{Reason: "full: 1 of 1 runner"}
	loop := func(until time.Time) provisioner.TemplateHealth {
		return provisioner.TemplateHealth{Failures: 2, Until: until}
	}
	for name, c := range map[string]struct {
		hosts []fleet.Verdict
		loop  provisioner.TemplateHealth
		want  time.Time
	}{
		"nothing is wrong":           {[]fleet.Verdict{free}, provisioner.TemplateHealth{}, time.Time{}},
		"the first of the hosts":     {[]fleet.Verdict{full, waits(in(time.Hour)), waits(in(time.Minute))}, provisioner.TemplateHealth{}, in(time.Minute)},
		"another is free":            {[]fleet.Verdict{waits(in(time.Minute)), free}, provisioner.TemplateHealth{}, time.Time{}},
		"the loop, and no host":      {[]fleet.Verdict{waits(in(time.Minute)), free}, loop(in(time.Second * 30)), in(30 * time.Second)},
		"both, and the host longer":  {[]fleet.Verdict{waits(in(time.Minute))}, loop(in(time.Second * 30)), in(time.Minute)},
		"both, and the loop longer":  {[]fleet.Verdict{waits(in(time.Minute))}, loop(in(time.Hour)), in(time.Hour)},
		"its pause is over":          {[]fleet.Verdict{free}, loop(in(-time.Second)), time.Time{}},
		"one is under way":           {[]fleet.Verdict{waits(time.Time{})}, provisioner.TemplateHealth{}, time.Time{}},
		"a host that is not for it":  {[]fleet.Verdict{{Reason: "not targeted", RetryAt: in(time.Second)}, waits(in(time.Minute))}, provisioner.TemplateHealth{}, in(time.Minute)},
		"healthy since, as it shows": {[]fleet.Verdict{free}, provisioner.TemplateHealth{Until: in(time.Minute)}, time.Time{}},
	} {
		require.Equal(t, c.want, scalesets.ScaleSet{}.Status(scalesets.Sight{Verdicts: c.hosts, Loop: c.loop}).RetryAt, name)
	}
}
