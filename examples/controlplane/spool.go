// Package spool is a ControlPlane to copy: its queue is a folder, a job is a
// shell script in it, and no server is needed.
//
//	mv build.sh jobs/queue/linux,x64,build-17
//
// The name of a job's file is the labels that it asks for and a name of its
// own, with commas between. The file moves from folder to folder; a rename is
// atomic, so a job is in one place at a time whatever is killed:
//
//	queue/         waits
//	granted/       promised to the loop, as <reservation>,<name>
//	taken/         a runner was minted for it, as <runner>,<name>
//	running/       that runner has begun: it moves the file itself
//	done/ failed/  how it ended
//
// It shows what a control plane has to do: grants are given once and within the
// free slots; what nobody received, minted or began in time goes back to the
// queue; a registration is for one runner; reports may come twice and in any
// order. Its test runs controlplanetest, the suite of all control planes: start
// yours from there.
//
// A job whose runner was lost with its machine stays in running/, for people to
// look at. One process at a time may have a spool open.
package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

var (
	_ provisioner.ControlPlane = (*Spool)(nil)
	_ provisioner.Knower       = (*Spool)(nil)
)

// Spool is a folder of jobs.
type Spool struct {
	dir string
	mu  sync.Mutex
	due map[string]time.Time // when a reservation, or a runner's registration, is over
}

// lifetime is how long a registration lives, and a grant by default.
const lifetime = time.Minute

// Open opens the folder dir, and makes what is missing.
func Open(dir string) (*Spool, error) {
	s := &Spool{dir: dir, due: map[string]time.Time{}}
	for _, state := range []string{"queue", "granted", "taken", "running", "done", "failed"} {
		if err := os.MkdirAll(s.path(state), 0o700); err != nil {
			return nil, fmt.Errorf("open spool: %w", err)
		}
	}
	taken, err := s.list("taken")
	for _, job := range taken { // its runner may be on its way
		s.due[job.holder] = time.Now().Add(lifetime)
	}
	return s, err
}

func (s *Spool) path(elements ...string) string {
	return filepath.Join(s.dir, filepath.Join(elements...))
}

type job struct{ holder, name string }

// list tells the jobs of a folder other than queue.
func (s *Spool) list(state string) (jobs []job, err error) {
	entries, err := os.ReadDir(s.path(state))
	for _, e := range entries {
		holder, name, _ := strings.Cut(e.Name(), ",")
		jobs = append(jobs, job{holder, name})
	}
	return jobs, err
}

// move says whether the file was there: another may have moved it first.
func move(from, to string) (bool, error) {
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// expire puts jobs whose grant or registration is over back into the queue, and
// those that were granted before a restart.
func (s *Spool) expire() (err error) {
	for _, state := range []string{"granted", "taken"} {
		jobs, e := s.list(state)
		err = errors.Join(err, e)
		for _, j := range jobs {
			if time.Now().After(s.due[j.holder]) {
				_, e := move(s.path(state, j.holder+","+j.name), s.path("queue", j.name))
				err = errors.Join(err, e)
			}
		}
	}
	return err
}

// Identify tells an id that is made once and stays with the folder.
func (s *Spool) Identify(context.Context) (provisioner.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := os.ReadFile(s.path("id"))
	if errors.Is(err, fs.ErrNotExist) {
		id = []byte(uuid.NewString())
		err = os.WriteFile(s.path("id"), id, 0o600)
	}
	return provisioner.Identity{ID: string(id)}, err
}

// Poll looks at the folder ten times a second.
func (s *Spool) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	over := time.After(ad.Wait)
	for last := ad.Wait <= 0; ; {
		if err := ctx.Err(); err != nil {
			return provisioner.Demand{}, err
		}
		grants, err := s.grant(ad)
		if err != nil || len(grants) > 0 || last {
			return provisioner.Demand{Grants: grants}, err
		}
		select {
		case <-ctx.Done():
		case <-over:
			last = true
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// grant makes one reservation for each label set that waits and has room.
func (s *Spool) grant(ad provisioner.Advertisement) (grants []provisioner.Grant, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.expire(); err != nil {
		return nil, err
	}
	queue, err := os.ReadDir(s.path("queue"))
	slots, left := slices.Clone(ad.Templates), ad.MaxReservations
	for _, file := range queue {
		parts := strings.Split(file.Name(), ",")
		labels, bad := template.Canonical(parts[:len(parts)-1])
		room := slices.IndexFunc(slots, func(t provisioner.Slots) bool { return t.Free > 0 && template.Covers(t.Labels, labels) })
		if bad != nil || room < 0 || left == 0 {
			continue
		}
		g := slices.IndexFunc(grants, func(g provisioner.Grant) bool { return slices.Equal(g.Labels, labels) })
		if g < 0 {
			g = len(grants)
			life := cmp.Or(ad.ReservationLifetime, lifetime)
			grants = append(grants, provisioner.Grant{Reservation: uuid.NewString(), Labels: labels, Lifetime: life})
			s.due[grants[g].Reservation] = time.Now().Add(life)
		}
		if _, err := move(s.path("queue", file.Name()), s.path("granted", grants[g].Reservation+","+file.Name())); err != nil {
			return nil, err // what was moved so far goes back when it is due
		}
		slots[room].Free, left, grants[g].Count = slots[room].Free-1, left-1, grants[g].Count+1
	}
	return grants, err
}

// begin is what a runner does: only the one that moves the file runs it.
const begin = `mv "$TAKEN" "$RUNNING" && exec /bin/sh -e "$RUNNING"`

// Mint takes one job of the reservation for each request. Warm runners make no
// sense where a runner is made for its job.
func (s *Spool) Mint(_ context.Context, requests []provisioner.MintRequest) (made []provisioner.Registration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(requests) > 0 && requests[0].Reservation == "" {
		return nil, fmt.Errorf("mint warm runners: %w", errors.ErrUnsupported)
	}
	granted, err := s.list("granted")
	for _, q := range requests {
		i := slices.IndexFunc(granted, func(j job) bool { return j.holder == q.Reservation })
		if i < 0 || time.Now().After(s.due[q.Reservation]) {
			continue // used up, over or unknown: that runner is not launched
		}
		name := q.Runner + "," + granted[i].name
		if _, err := move(s.path("granted", q.Reservation+","+granted[i].name), s.path("taken", name)); err != nil {
			return nil, err
		}
		granted = slices.Delete(granted, i, i+1)
		s.due[q.Runner] = time.Now().Add(lifetime)
		made = append(made, provisioner.Registration{
			Runner: q.Runner, Command: []string{"/bin/sh", "-c", begin}, Lifetime: lifetime,
			Env: map[string]string{"PATH": "/usr/bin:/bin", "TAKEN": s.path("taken", name), "RUNNING": s.path("running", name)},
		})
	}
	return made, err
}

// Report moves the jobs of runners that have ended. One whose runner never
// began goes back to the queue.
func (s *Spool) Report(_ context.Context, events []provisioner.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := map[string]string{}
	for _, e := range events {
		if e.State == provisioner.EventStopped {
			ended[e.Runner] = "done"
		} else if e.State.Terminal() {
			ended[e.Runner] = "failed"
		}
	}
	running, err := s.list("running")
	for _, j := range running {
		if to := ended[j.holder]; to != "" {
			_, e := move(s.path("running", j.holder+","+j.name), s.path(to, j.holder+","+j.name))
			err = errors.Join(err, e)
		}
	}
	for id := range ended {
		delete(s.due, id)
	}
	return errors.Join(err, s.expire())
}

// Facts: a runner that has begun has its job.
func (s *Spool) Facts(_ context.Context, runners []provisioner.Ref) (facts []provisioner.Fact, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	running, err := s.list("running")
	for _, j := range running {
		if slices.ContainsFunc(runners, func(r provisioner.Ref) bool { return r.ID == j.holder }) {
			facts = append(facts, provisioner.Fact{Runner: j.holder, Registered: provisioner.Yes, Busy: provisioner.Yes, Job: j.name})
		}
	}
	return facts, err
}
