package fleet

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/provisioner"
)

// LabelShare is a label that the fleet puts on the runners it launches, and that
// is told in no listing: what of their host they take up. A hub that has lost its
// records learns it from there. The value is stored: add fields at the end only.
const LabelShare = "host-share"

// LabelPlane is the label by which a View knows its own runners.
const LabelPlane = "control-plane"

// share is what of a host is one runner's.
type share struct {
	CPU    float64  `json:"cpu,omitempty"`
	Memory int64    `json:"memory,omitempty"`
	GPUs   []string `json:"gpus,omitempty"`
}

func (s share) zero() bool { return s.CPU == 0 && s.Memory == 0 && len(s.GPUs) == 0 }

// stamped is the labels as they are sent.
func (s share) stamped(labels map[string]string) map[string]string {
	if s.zero() {
		return labels
	}
	text, _ := json.Marshal(s) // numbers, and texts that came as JSON
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[LabelShare] = string(text)
	return labels
}

// unstamp takes the share out of labels that an agent told. What makes no sense is
// none.
func unstamp(labels map[string]string) share {
	text, ok := labels[LabelShare]
	if !ok {
		return share{}
	}
	delete(labels, LabelShare)
	var s share
	if json.Unmarshal([]byte(text), &s) != nil || !s.sound() {
		return share{}
	}
	return s
}

func (s share) sound() bool {
	odd := func(id string) bool { return !wire.IsName(id) }
	return s.CPU >= 0 && s.Memory >= 0 && len(s.GPUs) <= wire.MaxGPUs && !slices.ContainsFunc(s.GPUs, odd)
}

// newRecord makes the record of a runner with those labels, which nobody changes
// any more.
func newRecord(id string, h *host, labels map[string]string, s share) *record {
	r := &record{id: id, host: h, share: s}
	r.label(labels)
	return r
}

func (r *record) label(labels map[string]string) {
	r.labels, r.template, r.plane = labels, labels[provisioner.LabelTemplate], labels[LabelPlane]
}
