package controlplanetest_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/controlplanetest"
)

// A suite that lets a defect pass is one itself: each defect below breaks one
// promise of a control plane that keeps all of them, and the suite must notice.

// chosen names the defect to run in a process of its own.
const chosen = "CONTROLPLANETEST_DEFECT"

func TestEachDefectIsNoticed(t *testing.T) {
	t.Parallel() // they wait more than they work
	type result struct {
		out []byte
		err error
	}
	results := map[string]*result{}
	var group errgroup.Group
	group.SetLimit(8)
	for name, d := range defects {
		r := &result{}
		results[name] = r
		group.Go(func() error {
			r.out, r.err = runAlone(name, d)
			return nil
		})
	}
	_ = group.Wait()
	for name, r := range results {
		t.Run(name, func(t *testing.T) {
			var exit *exec.ExitError
			require.ErrorAs(t, r.err, &exit, "the suite is content with it:\n%s", r.out)
			require.Contains(t, string(r.out), "--- FAIL: TestDefective/"+strings.ReplaceAll(defects[name].promise, " ", "_"))
			require.Contains(t, string(r.out), "why it matters: ")
		})
	}
}

// runAlone runs the promise that d breaks in a process of its own.
func runAlone(name string, d defect) ([]byte, error) {
	pattern := "^TestDefective$"
	for part := range strings.SplitSeq(d.promise, "/") {
		pattern += "/^" + regexp.QuoteMeta(strings.ReplaceAll(part, " ", "_")) + "$"
	}
	run := exec.Command(os.Args[0], "-test.run="+pattern, "-test.v", "-test.timeout=60s")
	run.Env = append(os.Environ(), chosen+"="+name)
	return run.CombinedOutput()
}

func TestDefective(t *testing.T) {
	d, ok := defects[os.Getenv(chosen)]
	if !ok {
		t.Skip("runs in the processes of TestEachDefectIsNoticed")
	}
	controlplanetest.Run(t, func(*testing.T) controlplanetest.Harness {
		h := &harness{plane: newPlane(d.targets), defect: d}
		if d.life > 0 {
			h.life = d.life
			return &ageing{h}
		}
		return h
	})
}

func TestSoundControlPlane(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func() controlplanetest.Harness{
		"grants":  func() controlplanetest.Harness { return &harness{plane: newPlane(false)} },
		"targets": func() controlplanetest.Harness { return &harness{plane: newPlane(true)} },
		"grants of a day": func() controlplanetest.Harness {
			plane := newPlane(false)
			plane.life = 24 * time.Hour
			return &ageing{&harness{plane: plane}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			controlplanetest.Run(t, func(*testing.T) controlplanetest.Harness { return open() })
		})
	}
}

// defect replaces methods of a sound control plane.
type defect struct {
	promise  string
	targets  bool
	life     time.Duration // of grants, of a harness that can age them
	refused  provisioner.ControlPlane
	open     func(*wrapped)
	identify func() provisioner.Identity
	poll     func(context.Context, *wrapped, provisioner.Advertisement) (provisioner.Demand, error)
	mint     func(context.Context, *wrapped, []provisioner.MintRequest) ([]provisioner.Registration, error)
	announce func(*wrapped) error
	report   func(context.Context, *wrapped, []provisioner.Event) error
	facts    func(context.Context, *wrapped, []provisioner.Ref) ([]provisioner.Fact, error)
	retire   func(context.Context, *wrapped, []provisioner.Ref) ([]string, error)
}

type wrapped struct {
	*plane
	defect
	session int // 1 is the first

	once sync.Once
	kept provisioner.Demand
	busy sync.Mutex // while a poll waits
}

func (w *wrapped) Identify(ctx context.Context) (provisioner.Identity, error) {
	if w.identify != nil {
		return w.identify(), nil
	}
	return w.plane.Identify(ctx)
}

func (w *wrapped) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	if w.poll != nil {
		return w.poll(ctx, w, ad)
	}
	return w.plane.Poll(ctx, ad)
}

func (w *wrapped) Mint(ctx context.Context, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
	if w.mint != nil {
		return w.mint(ctx, w, requests)
	}
	return w.plane.Mint(ctx, requests)
}

func (w *wrapped) Announce(ctx context.Context, runner provisioner.Ref) error {
	if w.announce != nil {
		return w.announce(w)
	}
	return w.plane.Announce(ctx, runner)
}

func (w *wrapped) Report(ctx context.Context, events []provisioner.Event) error {
	if w.report != nil {
		return w.report(ctx, w, events)
	}
	return w.plane.Report(ctx, events)
}

func (w *wrapped) Facts(ctx context.Context, runners []provisioner.Ref) ([]provisioner.Fact, error) {
	if w.defect.facts != nil {
		return w.defect.facts(ctx, w, runners)
	}
	return w.plane.Facts(ctx, runners)
}

func (w *wrapped) Retire(ctx context.Context, runners []provisioner.Ref) ([]string, error) {
	if w.retire != nil {
		return w.retire(ctx, w, runners)
	}
	return w.plane.Retire(ctx, runners)
}

// adjust polls, and changes the advertisement before and the answer after.
func adjust(before func(*provisioner.Advertisement), after func(*provisioner.Demand)) func(context.Context, *wrapped, provisioner.Advertisement) (provisioner.Demand, error) {
	return func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		ad.Templates = slices.Clone(ad.Templates)
		if before != nil {
			before(&ad)
		}
		demand, err := w.plane.Poll(ctx, ad)
		if after != nil {
			after(&demand)
		}
		return demand, err
	}
}

func allFree(ad *provisioner.Advertisement) {
	for i := range ad.Templates {
		ad.Templates[i].Free = 100
	}
}

// defects are all of them, by name.
var defects = func() map[string]defect {
	all := map[string]defect{}
	for _, some := range []map[string]defect{simpleDefects, mintDefects, lifeDefects, callDefects, restartDefects} {
		maps.Copy(all, some)
	}
	return all
}()

var simpleDefects = map[string]defect{
	"identity made anew": {promise: "identify/stable", identify: func() provisioner.Identity {
		return provisioner.Identity{ID: uuid.NewString()}
	}},
	"identity of many lines": {promise: "identify/stable", identify: func() provisioner.Identity {
		return provisioner.Identity{ID: "us\nand more"}
	}},
	"refusal told as an outage": {promise: "identify/credential refused", refused: newPlane(false)},
	"empty poll told as an error": {promise: "poll/nothing to do", poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		demand, err := w.plane.Poll(ctx, ad)
		if demand.Empty() {
			err = context.DeadlineExceeded
		}
		return demand, err
	}},
	"waits though demand is there": {promise: "poll/demand that waits", poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		select {
		case <-ctx.Done():
		case <-time.After(ad.Wait):
		}
		return w.plane.Poll(ctx, ad)
	}},
	"sleeps through the event": {promise: "poll/wakes", poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		wait := ad.Wait
		ad.Wait = 0
		if demand, err := w.plane.Poll(ctx, ad); err != nil || !demand.Empty() {
			return demand, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		return w.plane.Poll(ctx, ad)
	}},
	"one look takes a while": {promise: "poll/nothing to do", poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		if ad.Wait == 0 {
			ad.Wait = time.Second
		}
		return w.plane.Poll(ctx, ad)
	}},
	"levels of the future": {promise: "targets/count what waits", targets: true, poll: adjust(nil, func(d *provisioner.Demand) {
		for i := range d.Targets {
			d.Targets[i].ReadAt = time.Now().Add(time.Minute)
		}
	})},
	"levels told twice": {promise: "targets/count what waits", targets: true, poll: adjust(nil, func(d *provisioner.Demand) {
		d.Targets = append(d.Targets, d.Targets...)
	})},
	"an empty advertisement refused": {promise: "poll/no templates", poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		if len(ad.Templates) == 0 {
			return provisioner.Demand{}, errBroken
		}
		return w.plane.Poll(ctx, ad)
	}},
	"targets asleep":            {promise: "targets/count what waits", targets: true, poll: adjust(nil, func(d *provisioner.Demand) { d.Targets = nil })},
	"grants without free slots": {promise: "poll/no free slot", poll: adjust(allFree, nil)},
	"grants beyond free slots":  {promise: "poll/no more than free", poll: adjust(allFree, nil)},
	"lends slots of another template": {promise: "poll/no more than free", poll: adjust(func(ad *provisioner.Advertisement) {
		ad.Templates[0].Free = 100
		ad.MaxReservations = 5
	}, nil)},
	"grants beyond the bound":      {promise: "poll/no more than one answer may ask", poll: adjust(func(ad *provisioner.Advertisement) { ad.MaxReservations = 100 }, nil)},
	"grants though none is wanted": {promise: "poll/no reservations wanted", poll: adjust(func(ad *provisioner.Advertisement) { ad.MaxReservations = 100 }, nil)},
	"grants told again": {promise: "poll/granted once", poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		demand, err := w.plane.Poll(ctx, ad)
		if len(demand.Grants) > 0 {
			w.once.Do(func() { w.kept = demand })
		}
		return w.kept, err
	}},
	"jobs granted again": {promise: "poll/granted once", poll: adjust(nil, func(d *provisioner.Demand) {
		for i := range d.Grants {
			d.Grants[i].Count *= 2
		}
	})},
	"labels as they were written": {promise: "poll/labels covered", poll: adjust(nil, func(d *provisioner.Demand) {
		for i := range d.Grants {
			d.Grants[i].Labels = []string{"Linux"}
		}
	})},
	"grants what no template covers": {promise: "poll/labels covered", poll: adjust(func(ad *provisioner.Advertisement) {
		ad.Templates[0].Labels = []string{"linux", "windows", "x64"}
	}, nil)},
	"lost grants stay lost": {promise: "poll/a lost answer", poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		demand, err := w.plane.Poll(context.WithoutCancel(ctx), ad)
		if ctx.Err() != nil {
			return provisioner.Demand{}, ctx.Err()
		}
		return demand, err
	}},
	"jobs of failed runners lost": {promise: "poll/a runner that failed", report: func(context.Context, *wrapped, []provisioner.Event) error { return nil }},
	"told once to the first loop": {promise: "targets/told to a new loop", targets: true, poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		demand, err := w.plane.Poll(ctx, ad)
		if w.runners["told"] != nil {
			demand.Targets = nil
		} else if slices.ContainsFunc(demand.Targets, func(t provisioner.Target) bool { return t.Count > 0 }) {
			w.runners["told"] = &instance{}
		}
		return demand, err
	}},
	"busy ones left out": {promise: "targets/count busy ones", targets: true, poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		w.mu.Lock()
		w.jobs = slices.DeleteFunc(w.jobs, func(j *job) bool { return j.runner != "" })
		w.mu.Unlock()
		return w.plane.Poll(ctx, ad)
	}},
	"announced with a refused credential": {promise: "identify/credential refused", refused: announces{}},
	"retired with a refused credential":   {promise: "identify/credential refused", refused: retires{}},
	"announcement refused":                {promise: "announce/before the launch", announce: func(*wrapped) error { return provisioner.ErrRefused }},
	"repeated report refused": {promise: "report/a whole life", report: func(ctx context.Context, w *wrapped, events []provisioner.Event) error {
		w.mu.Lock()
		for _, e := range events {
			if r := w.runners[e.Runner]; r != nil && r.state == e.State {
				w.mu.Unlock()
				return provisioner.ErrRejected
			}
		}
		w.mu.Unlock()
		return w.plane.Report(ctx, events)
	}},
	"last report wins":  {promise: "report/out of order", report: lastWins},
	"dead ones revived": {promise: "report/the end is the end", report: lastWins},
	"empty batch refused": {promise: "report/nothing", report: func(_ context.Context, _ *wrapped, events []provisioner.Event) error {
		if len(events) == 0 {
			return provisioner.ErrRejected
		}
		return nil
	}},
	"large batch refused": {promise: "report/many and long", report: func(_ context.Context, _ *wrapped, events []provisioner.Event) error {
		if len(events) > 1000 {
			return provisioner.ErrRejected
		}
		return nil
	}},
	"stuck at an unknown runner": {promise: "report/unknown runner", report: func(ctx context.Context, w *wrapped, events []provisioner.Event) error {
		if w.runners[events[0].Runner] == nil {
			return errBroken
		}
		return w.plane.Report(ctx, events)
	}},
	"a stranger ends the batch": {promise: "report/a stranger among them", report: func(ctx context.Context, w *wrapped, events []provisioner.Event) error {
		for _, e := range events {
			if w.runners[e.Runner] == nil {
				return nil
			}
			if err := w.plane.Report(ctx, []provisioner.Event{e}); err != nil {
				return err
			}
		}
		return nil
	}},
	"unknown told as idle and unwanted": {promise: "facts/unknown runner", facts: func(_ context.Context, _ *wrapped, runners []provisioner.Ref) (facts []provisioner.Fact, err error) {
		for _, r := range runners {
			facts = append(facts, provisioner.Fact{Runner: r.ID, Unwanted: true})
		}
		return facts, nil
	}},
	"facts by place": {promise: "facts/any order", facts: func(ctx context.Context, w *wrapped, runners []provisioner.Ref) ([]provisioner.Fact, error) {
		facts, err := w.plane.Facts(ctx, runners)
		if len(facts) > 0 {
			facts[0].Registered = provisioner.Unknown
		}
		return facts, err
	}},
	"one busy runner is told": {promise: "facts/registered and busy", facts: func(ctx context.Context, w *wrapped, runners []provisioner.Ref) ([]provisioner.Fact, error) {
		facts, err := w.plane.Facts(ctx, runners)
		told := false
		for i, f := range facts {
			if f.Busy == provisioner.Yes && told {
				facts[i].Busy = provisioner.Unknown
			}
			told = told || f.Busy == provisioner.Yes
		}
		return facts, err
	}},
	"all told as idle": {promise: "facts/registered and busy", facts: func(ctx context.Context, w *wrapped, runners []provisioner.Ref) ([]provisioner.Fact, error) {
		facts, err := w.plane.Facts(ctx, runners)
		for i := range facts {
			facts[i].Busy = provisioner.No
		}
		return facts, err
	}},
	"intents kept back": {promise: "terminate/told", poll: adjust(nil, func(d *provisioner.Demand) { d.Facts = nil }), facts: func(context.Context, *wrapped, []provisioner.Ref) ([]provisioner.Fact, error) {
		return nil, nil
	}},
	"unknown retired":          {promise: "retire/unknown", retire: retireAll},
	"busy retired":             {promise: "retire/busy", retire: retireAll},
	"retired and still served": {promise: "retire/idle", retire: retireAll},
	"deaf to its context": {promise: "context/nothing outlives it", poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		return w.plane.Poll(context.WithoutCancel(ctx), ad)
	}},
}

func lastWins(_ context.Context, w *wrapped, events []provisioner.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		if r := w.runners[e.Runner]; r != nil {
			r.state = e.State
		}
	}
	return nil
}

func retireAll(_ context.Context, _ *wrapped, runners []provisioner.Ref) (retired []string, err error) {
	for _, r := range runners {
		retired = append(retired, r.ID)
	}
	return retired, nil
}
