package provisioner

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/tokens"
)

// End tells how a runner ended and what it came to.
type End struct {
	// Runner is its id, Template the template's key.
	Runner   string `json:"runner"`
	Template string `json:"template"`
	// Host is where it lived; empty: the backend is one place, or it never lived.
	Host string `json:"host,omitempty"`
	// State is EventStopped, EventFailed or EventTerminated.
	State EventState `json:"state"`
	// Reason is a word: one of the Reason constants, or that of the control plane or
	// the operator who wanted its end.
	Reason string `json:"reason"`
	// Text goes on for people, with the backend's own words: one line of at most 300
	// bytes, without tokens; may be empty.
	Text string `json:"text,omitempty"`
	// ExitCode is nil where the process never ran, was ended, or it is not known.
	ExitCode *int `json:"exit_code,omitempty"`
	// Registered: the control plane has heard of it. Worked: it had a job, which is
	// Job where that is known.
	Registered Known  `json:"registered"`
	Worked     Known  `json:"worked"`
	Job        string `json:"job,omitempty"`
	// At is when its end was first known, Lived how long it had lived by then.
	At    time.Time     `json:"at"`
	Lived time.Duration `json:"lived_ns"`
	// Crash: it came to nothing, and not since anybody wanted that. Its template, or
	// its host, waits for it.
	Crash bool `json:"crash"`
}

// String is one line for people, without the runner's and the template's names.
func (e End) String() string {
	text := e.what()
	if e.Text != "" {
		text += " (" + e.Text + ")"
	}
	switch {
	case e.Job != "":
		text += ", had job " + e.Job
	case e.Worked == Yes:
		text += ", had a job"
	case e.Registered == No:
		text += ", never registered"
	case e.Worked == No:
		text += ", had no job"
	}
	return text
}

func (e End) what() string {
	switch {
	case e.Reason == ReasonDisappeared:
		return ReasonDisappeared
	case e.State == EventTerminated:
		return "ended by us: " + e.Reason
	case e.Reason == ReasonExitCode && e.ExitCode != nil:
		return fmt.Sprintf("ended with exit code %d", *e.ExitCode)
	case e.Reason == ReasonFailed:
		return "failed"
	case notLaunched(e.Reason):
		return "not launched: " + e.Reason
	case e.ExitCode != nil:
		return fmt.Sprintf("failed: %s, exit code %d", e.Reason, *e.ExitCode)
	default:
		return "failed: " + e.Reason
	}
}

// maxEndText bounds End.Text, in bytes.
const maxEndText = 300

// conclude tells of a runner's end, once: when it has ended and what it came to is
// known, or will not be.
func (l *ledger) conclude(r *Runner) {
	if r.concluded || !r.judged || r.Ended.IsZero() || !r.Told.Terminal() {
		return
	}
	r.concluded = true
	e := endOf(r)
	if lane := l.lanes[r.Template]; lane != nil && !r.old() {
		lane.ended(e, r.Begun)
	}
	if l.ended != nil {
		l.ended(e)
	}
}

func endOf(r *Runner) End {
	word, text, _ := strings.Cut(r.why, ":")
	e := End{
		Runner: r.ID, Template: r.Template, State: r.Told, Reason: short(word), Registered: r.Fact.Registered, Worked: r.Fact.Busy, Job: r.Fact.Job,
		At: r.Ended, Lived: max(r.Ended.Sub(r.Born), 0), Crash: r.crash,
	}
	if r.Fact.Job != "" {
		e.Worked = Yes
	}
	if r.Phase == Dropped { // it never was, so nobody has heard of it
		e.Registered, e.Worked = No, No
	}
	if r.end != nil && r.Told != EventTerminated {
		text = r.end.Error
		if r.end.ExitCode != nil {
			e.ExitCode = new(*r.end.ExitCode)
		}
	}
	e.Text, e.Host = short(strings.ReplaceAll(text, "launch "+r.ID+": ", "")), r.host
	return e
}

// short makes one line of at most maxEndText bytes, without tokens.
func short(text string) string {
	text = tokens.Redact(strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " "))
	if len(text) <= maxEndText {
		return text
	}
	const mark = "…"
	return strings.ToValidUTF8(text[:maxEndText-len(mark)], "") + mark
}

// Ends is what became of the newest runners of a template. What it holds is never
// changed.
type Ends struct {
	// Reasons counts the newest ends, at most 50, by their reason.
	Reasons map[string]int `json:"reasons,omitempty"`
	// Row are the newest that were crashes, with none between that came to something.
	Row Row `json:"row,omitzero"`
	// Last is the newest end; zero: there was none.
	Last End `json:"last,omitzero"`

	newest []string // the reasons, the oldest first
}

// Row are runners that crashed one after the other.
type Row struct {
	// Count is how many there are.
	Count int `json:"count"`
	// Since is when the first of them ended.
	Since time.Time `json:"since"`
	// Hosts are where they lived, at most 10, in their order.
	Hosts []string `json:"hosts,omitempty"`
	// Registered: the control plane has heard of some of them.
	Registered bool `json:"registered"`
	// Last is the newest of them.
	Last End `json:"last"`
}

const (
	mostEnds  = 50
	mostHosts = 10
)

// with is e after what was before, which may be nil.
func (s *Ends) with(e End) *Ends {
	if s == nil {
		s = &Ends{}
	}
	reasons := maps.Clone(s.Reasons)
	if reasons == nil {
		reasons = map[string]int{}
	}
	newest := slices.Clone(s.newest)
	if len(newest) >= mostEnds {
		if reasons[newest[0]]--; reasons[newest[0]] == 0 {
			delete(reasons, newest[0])
		}
		newest = newest[1:]
	}
	reasons[e.Reason]++
	return &Ends{Reasons: reasons, newest: append(newest, e.Reason), Row: s.Row, Last: e}
}

// with is a row that goes on with e.
func (r Row) with(e End) Row {
	if r.Count == 0 {
		r.Since = e.At
	}
	r.Count++
	r.Registered = r.Registered || e.Registered == Yes
	if at, found := slices.BinarySearch(r.Hosts, e.Host); e.Host != "" && !found && len(r.Hosts) < mostHosts {
		r.Hosts = slices.Insert(slices.Clone(r.Hosts), at, e.Host)
	}
	r.Last = e
	return r
}

// String says what a row is, in one line; empty of an empty one.
func (r Row) String() string {
	if r.Count == 0 {
		return ""
	}
	text := fmt.Sprintf("%d runners in a row", r.Count)
	if r.Count == 1 {
		text = "a runner"
	}
	if len(r.Hosts) > 0 {
		text += " on " + strings.Join(r.Hosts, ", ")
	}
	outcome := "ended without registering"
	switch {
	case notLaunched(r.Last.Reason):
		outcome = "could not be launched"
	case r.Registered:
		outcome = "ended without a job"
	}
	return text + " " + outcome + " (" + r.Last.cause() + ")"
}

// cause is the reason with what belongs to it.
func (e End) cause() string {
	text := e.Reason
	if e.Reason == ReasonExitCode && e.ExitCode != nil {
		text = fmt.Sprintf("exit code %d", *e.ExitCode)
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// row are the newest crashes.
func (l Lane) row() Row {
	if l.Ends == nil {
		return Row{}
	}
	return l.Ends.Row
}

// ended takes in an end. A runner that was begun before its template was edited says
// nothing of what the template is now.
func (l *lane) ended(e End, begun time.Time) {
	l.Ends = l.Ends.with(e)
	if !e.Crash || begun.Before(l.since) {
		return
	}
	if l.Ends.Row.Count == 0 {
		l.rowBegun = begun
	}
	l.Ends.Row = l.Ends.Row.with(e) // nobody else has seen these yet
}

// broken ends a row: a runner that was begun no earlier than the first of it has come
// to something.
func (l *lane) broken(begun time.Time) {
	if l.row().Count > 0 && !begun.Before(l.rowBegun) {
		ends := *l.Ends
		ends.Row = Row{}
		l.Ends = &ends
	}
}

// failing is what is wrong with a template, for health; empty: nothing is.
func (l Lane) failing(key string) string {
	switch row := l.row(); {
	case l.Failures > 0:
		return fmt.Sprintf("%s backs off after %d failures (%s)", key, l.Failures, l.FailureReason)
	case row.Count >= idleCrashes:
		return key + ": " + row.String()
	default:
		return ""
	}
}
