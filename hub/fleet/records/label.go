package records

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/internal/wire"
)

// LabelShare is a label that the fleet puts on the runners it launches, and that
// is told in no listing: what of their host they take up. A hub that has lost its
// records learns it from there. The value is stored: add fields at the end only.
const LabelShare = "host-share"

// LabelSeal is a label that a fleet with a key puts on the runners that it launches, and
// that is told in no listing: a MAC over the host, the runner's id and its other labels.
// A hub that has lost its records, as one that was restored from a backup, knows by it
// which runners it gave to the host. Without that an agent could invent runners, which
// count against their scale set on every host.
const LabelSeal = "host-seal"

// Stamp is the labels with the share, as they are sent.
func Stamp(labels map[string]string, s placement.Share) map[string]string {
	if s.Zero() {
		return labels
	}
	text, _ := json.Marshal(s) // numbers, and texts that came as JSON
	return with(labels, LabelShare, string(text))
}

// Unstamp takes the share out of labels that an agent told. What makes no sense is
// none.
func Unstamp(labels map[string]string) placement.Share {
	text, ok := labels[LabelShare]
	delete(labels, LabelShare)
	var s placement.Share
	if !ok || json.Unmarshal([]byte(text), &s) != nil || !sound(s) {
		return placement.Share{}
	}
	return s
}

func sound(s placement.Share) bool {
	odd := func(id string) bool { return !wire.IsName(id) }
	return s.CPU >= 0 && s.Memory >= 0 && len(s.GPUs) <= wire.MaxGPUs && !slices.ContainsFunc(s.GPUs, odd)
}

// Sealer is the key that seals are made with. An empty one makes none, and takes every
// runner for its own.
type Sealer []byte

// Seal is the labels with their seal, as they are sent to the host.
func (k Sealer) Seal(host, id string, labels map[string]string) map[string]string {
	if len(k) == 0 {
		return labels
	}
	return with(labels, LabelSeal, k.seal(host, id, labels))
}

// Unseal takes the seal out of labels that an agent told of a runner of its host, and
// says whether it is ours.
func (k Sealer) Unseal(host, id string, labels map[string]string) (ours bool) {
	seal, ok := labels[LabelSeal]
	delete(labels, LabelSeal)
	return len(k) == 0 || ok && hmac.Equal([]byte(seal), []byte(k.seal(host, id, labels)))
}

func (k Sealer) seal(host, id string, labels map[string]string) string {
	if len(labels) == 0 {
		labels = nil // as it comes back is not known then
	}
	text, _ := json.Marshal([]any{host, id, labels}) // texts, and maps go in the order of their keys
	mac := hmac.New(sha256.New, k)
	mac.Write(text)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// with is the labels and one more.
func with(labels map[string]string, key, value string) map[string]string {
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[key] = value
	return labels
}
