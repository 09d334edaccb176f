package fleet

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

// LabelSeal is a label that a fleet with a Config.SealKey puts on the runners that it
// launches, and that is told in no listing: a MAC over the host, the runner's id and
// its other labels. A hub that has lost its records, as one that was restored from a
// backup, knows by it which runners it gave to the host. Without that an agent could
// invent runners, which count against their scale set on every host.
const LabelSeal = "host-seal"

// sealed is the labels with their seal, as they are sent to the host.
func (f *Fleet) sealed(host, id string, labels map[string]string) map[string]string {
	if len(f.config.SealKey) == 0 {
		return labels
	}
	sealed := make(map[string]string, len(labels)+1)
	for key, value := range labels {
		sealed[key] = value
	}
	sealed[LabelSeal] = f.seal(host, id, labels)
	return sealed
}

func (f *Fleet) seal(host, id string, labels map[string]string) string {
	text, _ := json.Marshal([]any{host, id, labels}) // texts, and maps go in the order of their keys
	mac := hmac.New(sha256.New, f.config.SealKey)
	mac.Write(text)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// unseal takes the seal out of labels that an agent told of a runner of its host, and
// says whether it is ours.
func (f *Fleet) unseal(host, id string, labels map[string]string) (ours bool) {
	seal, ok := labels[LabelSeal]
	delete(labels, LabelSeal)
	return len(f.config.SealKey) == 0 || ok && hmac.Equal([]byte(seal), []byte(f.seal(host, id, labels)))
}

// believes says whether a runner without a record is taken in: one that was given to
// the host, and, while it holds a slot, one that the host may have. Who keeps the seals
// of runners that have ended can't tell of more than its cap.
func (f *Fleet) believes(h *host, state backend.State, ours bool) bool {
	return len(f.config.SealKey) == 0 || ours && (!state.HoldsSlot() || h.held() < h.cap())
}

// distrust notes a runner that is not the host's. An agent can tell of as many as it
// likes, as often as it likes: it is logged now and then.
func (f *Fleet) distrust(h *host, seen *wire.Runner) {
	if !h.foreign[seen.ID] && f.talks(h.ID) {
		f.say(hclog.Warn, "a host tells of a runner that it was not given", "host", h.name(), "runner", seen.ID)
	}
	h.foreign[seen.ID] = true
}
