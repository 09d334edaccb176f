package placement

import (
	"math"
	"slices"
	"time"
)

// silentTimes is how many times Config.SlowAfter a launch may go unanswered until its
// host gets no other, whoever else has room.
const silentTimes = 3

// Judge says whether the host may get such a runner now, and how many: room is above
// zero where there is no obstacle. It is the one place that does; it changes nothing.
func (p *Placer) Judge(h *Host, a *Ask, now time.Time) (room int, o Obstacle) {
	if a.ruled && (a.rule == nil || !a.rule.targets(h)) {
		return 0, NotTargeted
	}
	if o := h.closed(); o != "" {
		return 0, o
	}
	if patience := silentTimes * p.SlowAfter; patience > 0 && h.slow(now, patience) { // what it gets is lost for as long as a launch may take
		return 0, Silent
	}
	if !fits(a.os, h.Facts.OS) || !fits(a.arch, h.Facts.Arch) {
		return 0, Platform
	}
	if _, ok := p.Runtime(h, a); !ok {
		return 0, NoRuntime
	}
	if room, o = p.room(h, a); o == "" {
		room, o = h.waits(a, room, now)
	}
	if o != "" {
		return 0, o
	}
	return room, ""
}

// Closed says that the host takes no runner at all now.
func (h *Host) Closed() bool { return h.closed() != "" || h.Load.Held >= h.Cap() }

// closed is what keeps any runner away from the host.
func (h *Host) closed() Obstacle {
	switch {
	case !h.Online:
		return Offline
	case h.NeedsUpdate:
		return NeedsUpdate
	case !h.Listed:
		return NotReady
	case !h.Ready:
		return Blind
	case h.Cordoned:
		return Cordoned
	}
	return ""
}

func fits(asked, told string) bool { return asked == "" || asked == told }

// Runtime is what such a runner is launched with there, and whether the host has it.
// One that is named is that one; one that isolates is the best there is; else it is
// the engine's own, which has no name.
func (p *Placer) Runtime(h *Host, a *Ask) (name string, ok bool) {
	switch {
	case a.runtime != "":
		return a.runtime, slices.Contains(h.Facts.Runtimes, a.runtime) && (!a.isolated() || slices.Contains(p.IsolatedRuntimes, a.runtime))
	case a.isolated():
		for _, name := range p.IsolatedRuntimes {
			if slices.Contains(h.Facts.Runtimes, name) {
				return name, true
			}
		}
		return "", false
	}
	return "", true
}

// room is the least of all that bounds it.
func (p *Placer) room(h *Host, a *Ask) (int, Obstacle) {
	t, r := &h.Load, a.rule
	room, o := math.MaxInt, Obstacle("")
	least := func(n int64, bound Obstacle) {
		if n = max(n, 0); n < int64(room) {
			room, o = int(n), bound
		}
	}
	least(int64(h.Cap()-t.Held), Full)
	if r != nil && r.PerHostMax > 0 {
		least(int64(r.PerHostMax-t.Templates[a.Template]), PerHostMax)
	}
	if total := p.cpu(h); total > 0 && a.cpu > 0 {
		least((total-t.CPU)/a.cpu, NoCPU)
	}
	if total := p.memory(h); total > 0 && a.memory > 0 {
		least((total-t.Memory)/a.memory, NoMemory)
	}
	if a.gpus != 0 {
		least(int64(gpuRoom(h, a.gpus)), NoGPU)
	}
	if r != nil && r.MinDiskFree > 0 && h.Facts.Disk.Free < r.MinDiskFree {
		least(0, NoDisk)
	}
	if room > 0 {
		o = ""
	}
	return room, o
}

// cpu is what of the host's CPUs may be given away, in thousandths; 0: not known.
func (p *Placer) cpu(h *Host) int64 { return int64(float64(h.Facts.CPUs) * 1000 * p.OvercommitCPU) }

// memory is the same of its memory, in bytes.
func (p *Placer) memory(h *Host) int64 {
	return int64(min(float64(h.Facts.Memory)*p.OvercommitMemory, math.MaxInt64/2))
}

// gpuRoom is how many runners with so many devices fit.
func gpuRoom(h *Host, asked int) int {
	total := len(h.Facts.GPUs)
	free := total
	if len(h.Load.GPUs) > 0 {
		free = len(h.FreeGPUs())
	}
	switch {
	case asked > 0:
		return free / asked
	case free == total && total > 0:
		return 1
	default:
		return 0
	}
}
