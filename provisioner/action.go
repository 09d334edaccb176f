package provisioner

import (
	"fmt"
	"strings"
	"time"
)

// Deed is what an action does.
type Deed string

// The deeds.
const (
	// DoList observes the backend.
	DoList Deed = "list"
	// DoSize asks the backend how much room there is.
	DoSize Deed = "size"
	// DoAsk asks the control plane for facts.
	DoAsk Deed = "ask"
	// DoPoll sends a poll; DoRepoll ends the one under way, so that it is sent anew.
	DoPoll   Deed = "poll"
	DoRepoll Deed = "repoll"
	// DoPrepare fetches what a template needs.
	DoPrepare Deed = "prepare"
	// DoMint makes Count new runners of Template and mints their registrations.
	DoMint Deed = "mint"
	// DoAnnounce tells the control plane of a runner.
	DoAnnounce Deed = "announce"
	// DoLaunch launches it.
	DoLaunch Deed = "launch"
	// DoDrop throws a runner away that was not launched.
	DoDrop Deed = "drop"
	// DoExpire drops a grant.
	DoExpire Deed = "expire"
	// DoRetire makes sure that runners get no job.
	DoRetire Deed = "retire"
	// DoRemove removes a runner.
	DoRemove Deed = "remove"
	// DoKeepAlive puts an event of unchanged live runners into the outbox.
	DoKeepAlive Deed = "keep-alive"
	// DoReport sends Count events.
	DoReport Deed = "report"
	// DoWait plans again at Until.
	DoWait Deed = "wait"
)

// Action is one thing to do, and why.
type Action struct {
	Do Deed
	// Template, Reservation and Count go with prepare, mint, expire and report.
	Template, Reservation string
	Count                 int
	// Runners are the ids, for deeds on runners.
	Runners []string
	// Until goes with wait.
	Until time.Time
	// Ad goes with poll.
	Ad Advertisement
	// Reason says why, in words for the log.
	Reason string
}

// String is one line: the deed, its object, the reason.
func (a Action) String() string {
	var b strings.Builder
	b.WriteString(string(a.Do))
	if len(a.Runners) > 0 {
		b.WriteString(" " + strings.Join(a.Runners, ","))
	}
	if a.Template != "" {
		b.WriteString(" " + a.Template)
	}
	if a.Count > 0 {
		fmt.Fprintf(&b, " x%d", a.Count)
	}
	if a.Reservation != "" {
		b.WriteString(" of " + a.Reservation)
	}
	if a.Do == DoPoll {
		for _, s := range a.Ad.Templates {
			fmt.Fprintf(&b, " %s=%d", s.Template, s.Free)
		}
	}
	if !a.Until.IsZero() {
		b.WriteString(" until " + a.Until.UTC().Format("15:04:05.000"))
	}
	return b.String() + ": " + a.Reason
}
