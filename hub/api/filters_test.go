package api_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/queue"
)

// Why: an empty list says that there is nothing. Who has a name wrong must not be
// told so.
func TestFiltersThatNothingCanFitAreRefused(t *testing.T) {
	w := newWorld(t)
	host, enrolment := w.add("a")
	w.connect(host, enrolment)
	w.until("a", ready)
	w.launch("deleted") // a runner outlives its scale set
	w.until("a", func(h api.Host) bool { return h.Runners == 1 })
	_, token := w.as(queue.RoleViewer)
	require.Equal(t, 201, w.do("POST", "scale-sets", `{"name": "idle", "labels": ["a"], "image": "x", "cpu": 1, "memory": "1GiB", "max": 1}`).status)
	for _, good := range []string{
		"runners?host=a", "runners?host=" + host.ID, "runners?scale_set=deleted", "runners?scale_set=idle", "runners?state=failed",
		"hosts?selector=zone=x", "jobs?label=never-seen", "jobs?name=never-seen",
		"events?object=host", "events?object=host/gone", "events?object=hub", "events?kind=host", "events?kind=host-online,events-missing", "events?kind=job-succeeded",
		"audit?object=host/gone", "audit?action=edit-host", "audit?outcome=done", "audit?outcome=forbidden", "audit?token=" + token,
	} {
		require.Equal(t, 200, w.do("GET", good, nil).status, good)
	}
	for bad, location := range map[string]string{
		"runners?host=nope": "query.host", "runners?scale_set=nope": "query.scale_set", "runners?scale_set=nope&host=a": "query.scale_set", "runners?state=odd": "query.state",
		"scale-sets?control_plane=nope": "query.control_plane", "jobs?status=odd": "query.status", "hosts?selector=zone": "query.selector",
		"events?object=hots": "query.object", "events?kind=hots-online": "query.kind", "events?kind=host,hots": "query.kind", "events/stream?kind=hots": "query.kind", "events/stream?object=hots/a": "query.object",
		"audit?object=hots/a": "query.object", "audit?action=edit-hots": "query.action", "audit?outcome=forbiden": "query.outcome", "audit?token=" + uuid.NewString(): "query.token",
	} {
		p := w.problem(422, "invalid", w.do("GET", bad, nil))
		require.Len(t, p.Errors, 1, bad)
		require.Contains(t, p.Errors[0].Location, location, bad)
	}
}
