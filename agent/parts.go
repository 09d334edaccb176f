package agent

import (
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/internal/wire"
)

// partSize is how many bytes of runners go into one frame: with the quoting of
// JSON they stay below the limit.
const partSize = wire.MaxFrame / 8

// batches cuts runners into groups that fit a frame.
func batches(runners map[string]wire.Runner) [][]wire.Runner {
	var out [][]wire.Runner
	var batch []wire.Runner
	size := 0
	for _, id := range slices.Sorted(maps.Keys(runners)) {
		r := runners[id]
		n := r.Size() + 256
		if len(batch) > 0 && (size+n > partSize || len(batch) == wire.MaxList) {
			out, batch, size = append(out, batch), nil, 0
		}
		batch, size = append(batch, r), size+n
	}
	if len(batch) > 0 {
		out = append(out, batch)
	}
	return out
}

// listParts makes the frames of a full list; there is at least one.
func listParts(runners map[string]wire.Runner, undecided map[string]bool) []wire.Listed {
	var parts []wire.Listed
	for _, batch := range batches(runners) {
		parts = append(parts, wire.Listed{Runners: batch})
	}
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(undecided)), wire.MaxList) {
		parts = append(parts, wire.Listed{Runners: []wire.Runner{}, Undecided: ids})
	}
	if len(parts) == 0 {
		parts = append(parts, wire.Listed{Runners: []wire.Runner{}})
	}
	parts[len(parts)-1].Last = true
	return parts
}

// changeParts makes the frames of what is different; there may be none.
func changeParts(runners map[string]wire.Runner, gone []string) []wire.Changed {
	var parts []wire.Changed
	for _, batch := range batches(runners) {
		parts = append(parts, wire.Changed{Runners: batch})
	}
	slices.Sort(gone)
	for ids := range slices.Chunk(gone, wire.MaxList) {
		parts = append(parts, wire.Changed{Gone: ids})
	}
	return parts
}
