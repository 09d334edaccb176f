package fleet

import (
	"math"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/provisioner"
)

// obstacle is a word for why a host gets no such runner now; empty: it may.
type obstacle string

// The obstacles, in the order in which they are looked for and told.
const (
	notTargeted obstacle = "not targeted"
	offline     obstacle = "offline"
	needsUpdate obstacle = "needs-update"
	notReady    obstacle = "not ready"
	blind       obstacle = "blind"
	cordoned    obstacle = "cordoned"
	silent      obstacle = "silent"
	platform    obstacle = "of another platform"
	noRuntime   obstacle = "without the runtime"
	full        obstacle = "full"
	perHostMax  obstacle = "at the scale set's cap"
	noCPU       obstacle = "short of CPU"
	noMemory    obstacle = "short of memory"
	noGPU       obstacle = "short of GPUs"
	noDisk      obstacle = "short of disk"
	exhausted   obstacle = "out of room by its own word"
	backingOff  obstacle = "backing off"
	tried       obstacle = "tried"
)

var obstacles = []obstacle{
	notTargeted, offline, needsUpdate, notReady, blind, cordoned, silent, platform, noRuntime, full, perHostMax, noCPU, noMemory, noGPU, noDisk,
	exhausted, backingOff, tried,
}

// ofTemplate says whether the obstacle lies in what was asked for, and not in how
// the host does.
func (o obstacle) ofTemplate() bool { return o == notTargeted || o == platform || o == noRuntime }

// ofRoom says whether it is over when other runners have ended.
func (o obstacle) ofRoom() bool { return o == full || o == perHostMax || o == exhausted }

// ask is what a launch wants of a host.
type ask struct {
	template string
	kind     string // see kindOf
	// placed: placements are set, and place is the template's, nil if it has none.
	placed   bool
	place    *placement
	os, arch string
	runtime  string
	cpu      int64 // in thousandths
	memory   int64
	gpus     int // -1: all
}

// newAsk is what a launch of the spec wants. The lock is held.
func (f *Fleet) newAsk(spec *wire.Spec) *ask {
	a := &ask{
		template: spec.Labels[provisioner.LabelTemplate], kind: kindOf(spec), placed: f.placements != nil,
		os: spec.OS, arch: spec.Arch, runtime: spec.Runtime, cpu: milli(spec.CPU), memory: max(spec.Memory, 0), gpus: spec.GPUs,
	}
	a.place = f.placements[a.template]
	if a.template != "" && (f.asks[a.template] != nil || len(f.asks) < mostKinds) {
		f.asks[a.template] = a
	}
	return a
}

// verdict is what comes of an ask on one host.
type verdict struct {
	obstacle obstacle
	room     int    // how many such runners it may take, where there is no obstacle
	runtime  string // to launch with; empty: the engine's own
}

// rules are what hosts are judged by.
type rules struct {
	overcommitCPU, overcommitMemory float64
	isolated                        []string
	patience                        time.Duration // with a launch that is not answered
}

// judge says whether the host may get such a runner now, and how many. It is the
// one place that does: Launch, Capacity, Prepare and Explain all ask it. It has no
// clock and changes nothing.
func (r *rules) judge(h *host, a *ask, now time.Time) verdict {
	if o := aims(h, a); o != "" {
		return verdict{obstacle: o}
	}
	if o := closed(h); o != "" {
		return verdict{obstacle: o}
	}
	if r.patience > 0 && h.slow(now, r.patience) { // what it gets is lost for as long as a launch may take
		return verdict{obstacle: silent}
	}
	if !fits(a.os, h.facts.OS) || !fits(a.arch, h.facts.Arch) {
		return verdict{obstacle: platform}
	}
	runtime, ok := r.runtime(h, a)
	if !ok {
		return verdict{obstacle: noRuntime}
	}
	room, o := r.room(h, a)
	switch {
	case o != "":
	case now.Before(h.exhausted[failureKey(a)].end()):
		o = exhausted
	case h.failures[failureKey(a)].waits(a, now):
		o = backingOff
	}
	if failing := h.failures[failureKey(a)]; o == "" && failing.of(a) {
		if room = 1; h.count().unanswered > 0 || failing.probing(h) { // one at a time, to see whether it is over
			o = backingOff
		}
	}
	if o != "" {
		return verdict{obstacle: o, runtime: runtime}
	}
	return verdict{room: room, runtime: runtime}
}

// aims looks whether the template is for the host.
func aims(h *host, a *ask) obstacle {
	if a.placed && (a.place == nil || !a.place.targets(h)) {
		return notTargeted
	}
	return ""
}

// closed is what keeps any runner away from the host.
func closed(h *host) obstacle {
	switch {
	case h.session == nil:
		return offline
	case h.session.needsUpdate:
		return needsUpdate
	case !h.session.listed:
		return notReady
	case !h.ready:
		return blind
	case h.Cordoned:
		return cordoned
	}
	return ""
}

func fits(asked, told string) bool { return asked == "" || asked == told }

// runtime is what such a runner is launched with there, and whether the host has
// it. A runtime that is named is that one; one that isolates is the best there is.
func (r *rules) runtime(h *host, a *ask) (name string, ok bool) {
	isolated := a.place != nil && a.place.Isolated
	switch {
	case a.runtime != "":
		return a.runtime, slices.Contains(h.facts.Runtimes, a.runtime) && (!isolated || slices.Contains(r.isolated, a.runtime))
	case isolated:
		for _, name := range r.isolated {
			if slices.Contains(h.facts.Runtimes, name) {
				return name, true
			}
		}
		return "", false
	}
	return "", true
}

// room is the least of all that bounds it.
func (r *rules) room(h *host, a *ask) (int, obstacle) {
	t, p := h.count(), a.place
	room, o := math.MaxInt, obstacle("")
	least := func(n int64, bound obstacle) {
		if n = max(n, 0); n < int64(room) {
			room, o = int(n), bound
		}
	}
	least(int64(h.cap()-t.held), full)
	if p != nil && p.PerHostMax > 0 {
		least(int64(p.PerHostMax-t.templates[a.template]), perHostMax)
	}
	if total := r.cpu(h); total > 0 && a.cpu > 0 {
		least((total-t.cpu)/a.cpu, noCPU)
	}
	if total := r.memory(h); total > 0 && a.memory > 0 {
		least((total-t.memory)/a.memory, noMemory)
	}
	if a.gpus != 0 {
		least(int64(gpuRoom(h, a.gpus)), noGPU)
	}
	if p != nil && p.MinDiskFree > 0 && h.facts.Disk.Free < p.MinDiskFree {
		least(0, noDisk)
	}
	if room > 0 {
		o = ""
	}
	return room, o
}

// cpu is what of the host's CPUs may be given away, in thousandths; 0: not known.
func (r *rules) cpu(h *host) int64 { return int64(float64(h.facts.CPUs) * 1000 * r.overcommitCPU) }

// memory is the same of its memory, in bytes.
func (r *rules) memory(h *host) int64 {
	return int64(min(float64(h.facts.Memory)*r.overcommitMemory, math.MaxInt64/2))
}

// gpuRoom is how many runners with so many devices fit.
func gpuRoom(h *host, asked int) int {
	total := len(h.facts.GPUs)
	if total == 0 {
		return 0
	}
	free := total
	if taken := h.count().gpus; len(taken) > 0 {
		free = len(h.freeGPUs())
	}
	switch {
	case asked > 0:
		return free / asked
	case free == total:
		return 1
	default:
		return 0
	}
}
