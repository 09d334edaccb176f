package provisioner

import (
	"slices"
	"time"

	"github.com/slipway-ci/slipway/template"
)

// Snapshot is all that a decision depends on, the time included. Plan and its
// parts read it and change nothing.
type Snapshot struct {
	// Now is the time of the decision.
	Now time.Time
	// Limits are the configured numbers.
	Limits Limits
	// Order holds the keys of the templates as they are advertised; Index finds
	// them.
	Order []string
	Index *template.Index
	// Runners in the order of their ids.
	Runners []*Runner
	// Grants in the order of their receipt.
	Grants []HeldGrant
	// Targets by template.
	Targets map[string]Target
	// Lanes hold what is known of each template beside its runners.
	Lanes map[string]Lane
	// Able says what the control plane and the backend can do.
	Able Abilities

	// Stopping: finish what is under way, begin nothing.
	Stopping bool

	// List, Size, Facts, Poll and Report are the state of the one call of each kind.
	List, Size, Facts, Poll, Report Call
	// Began is when the last good list began; zero: there was none.
	Began time.Time
	// RoomBegan is when the room that is known was asked for.
	RoomBegan time.Time
	// Observed says that the last list was good.
	Observed bool
	// Watched says that the backend hints at changes.
	Watched bool
	// Woken says that something may have changed since the last list began.
	Woken bool
	// Advertised is what the poll under way, or the last one, offered.
	Advertised Advertisement
	// Outbox is how many events wait, ReportBatch how many may go at once.
	Outbox, ReportBatch int
	// Conflict is since when another loop of our owner has been at work; zero: none.
	Conflict time.Time
}

// Call is the state of a call of which one at a time is made.
type Call struct {
	// Busy: one is under way, since Began.
	Busy  bool
	Began time.Time
	// Done is when the last good one ended; zero: never.
	Done time.Time
	// Next is the earliest time for the next one; zero: at once.
	Next time.Time
}

// Lane is what is known of a template beside its runners.
type Lane struct {
	// Room is how many more the backend had room for when it was last asked.
	Room int
	// Preparing: a prepare is under way. Prepared is when the last good one ended.
	Preparing bool
	Prepared  time.Time
	// MintRetry is the earliest time of the next mint, LevelRetry that of the next for
	// a target or an idle floor: grants bound their own tries, levels do not.
	MintRetry, LevelRetry time.Time
	// Failures in a row, Until when nothing is launched on their account, and
	// LastFailure, after which a new runner counts as a probe.
	Failures    int
	Until       time.Time
	LastFailure time.Time
	// FailureReason is the last one, for display.
	FailureReason string
	// LaunchTook is how long the last good launch took.
	LaunchTook time.Duration
	// Ends is what became of its newest runners, for display; nil: none has ended.
	Ends *Ends
}

// waits is until when nothing is begun for the template; zero: nothing is waited for.
func (l Lane) waits(now time.Time) time.Time {
	if l.MintRetry.After(now) {
		return later(l.Until, l.MintRetry)
	}
	return l.Until
}

// HeldGrant is a grant of which not everything was minted yet.
type HeldGrant struct {
	Grant
	// Expires is when it does; zero: unknown.
	Expires time.Time
	// Left is how many are still to be minted.
	Left int
}

// Abilities are what the ports can do beyond their contract.
type Abilities struct {
	Announce, Facts, Retire, Prepare, Capacity, Warm bool
}

// counts are the runners of one template.
type counts struct {
	live, starting, running int
	waiting                 int // begun, and the backend was not asked yet
	unlisted                int // may exist and not be part of the room that was told
	idle                    int
	probes                  int // born since the last failure and not decided
}

// count looks at every runner once.
func count(s Snapshot) map[string]*counts {
	all := make(map[string]*counts, len(s.Order))
	for _, key := range s.Order {
		all[key] = &counts{}
	}
	for _, r := range s.Runners {
		c := all[r.Template]
		if c == nil {
			c = &counts{}
			all[r.Template] = c
		}
		switch lane := s.Lanes[r.Template]; {
		case r.HoldsSlot():
			c.add(s, r)
		case r.Phase == Launched && !r.judged && lane.Failures > 0 && r.Begun.After(lane.LastFailure):
			c.probes++ // ended, and how is not weighed yet
		}
	}
	return all
}

func (c *counts) add(s Snapshot, r *Runner) {
	c.live++
	if st := r.state(); st == "starting" {
		c.starting++
	} else {
		c.running++
	}
	if r.Phase.beforeLaunch() {
		c.waiting++
	}
	if r.Phase.inFlight() || !r.Begun.IsZero() && !r.Since.Before(s.RoomBegan) {
		c.unlisted++
	}
	if r.idle() {
		c.idle++
	}
	if lane := s.Lanes[r.Template]; lane.Failures > 0 && r.Begun.After(lane.LastFailure) && r.undecided(s.Now) {
		c.probes++
	}
}

// begin counts n runners that are about to be minted.
func (c *counts) begin(n int) {
	c.live += n
	c.starting += n
	c.waiting += n
	c.unlisted += n
	c.probes += n
}

// room is how many more runners of the template may be launched now. Grants
// that are not minted yet are not taken off.
func (s Snapshot) room(t *template.Template, c *counts) int {
	if s.Stopping || !s.Observed || s.conflicted() {
		return 0
	}
	n := t.MaxConcurrency - c.live
	lane := s.Lanes[t.Key]
	if s.Able.Capacity {
		n = min(n, lane.Room-c.unlisted)
	}
	if lane.Failures > 0 {
		n = min(n, 1-c.probes)
		if s.Now.Before(lane.Until) {
			n = 0
		}
	}
	return max(n, 0)
}

func (s Snapshot) conflicted() bool {
	return !s.Conflict.IsZero() && s.Now.Sub(s.Conflict) >= conflictPatience
}

// Advertise is what a poll sent now would offer.
func Advertise(s Snapshot) Advertisement {
	return advertise(s, count(s))
}

func advertise(s Snapshot, all map[string]*counts) Advertisement {
	ad := Advertisement{
		Wait:                s.Limits.PollWait,
		MaxReservations:     s.Limits.MaxReservations,
		ReservationLifetime: s.Limits.ReservationLifetime,
		Templates:           make([]Slots, 0, len(s.Order)),
	}
	for _, g := range s.Grants {
		ad.MaxReservations -= g.Left
	}
	ad.MaxReservations = max(ad.MaxReservations, 0)
	for _, key := range s.Order {
		t, c := s.Index.Get(key), all[key]
		ad.Templates = append(ad.Templates, Slots{
			Template: key, Labels: t.Labels, Free: s.room(t, c), Starting: c.starting, Running: c.running,
		})
	}
	return ad
}

// sameOffer says whether a and b offer something, and for the same templates.
func sameOffer(a, b Advertisement) bool {
	return (a.MaxReservations > 0) == (b.MaxReservations > 0) && slices.EqualFunc(a.Templates, b.Templates, func(x, y Slots) bool {
		return x.Template == y.Template && (x.Free > 0) == (y.Free > 0)
	})
}
