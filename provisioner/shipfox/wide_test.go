package shipfox_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
	"github.com/slipway-ci/slipway/tokens"
)

func event(id string, state provisioner.EventState) provisioner.Event {
	return provisioner.Event{Runner: id, Labels: ref(id, "i-"+id, "v1").Labels, State: state, At: time.Now()}
}

// One event that the service refuses must not take the others with it: the
// request as a whole is a 400.
func TestOneBadEventIsRefusedAlone(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	var accepted []string
	s.reply[ertReport] = func(w http.ResponseWriter, body string) {
		if strings.Contains(body, `"bad"`) {
			answer(400, `{"code":"validation-error"}`)(w, "")
			return
		}
		var request struct {
			Events []struct {
				ID string `json:"provider_runner_id"`
			} `json:"events"`
		}
		require.NoError(t, json.Unmarshal([]byte(body), &request))
		for _, e := range request.Events {
			accepted = append(accepted, e.ID)
		}
		answer(200, `{"accepted":1}`)(w, "")
	}
	var events []provisioner.Event
	for _, id := range []string{"a", "b", "bad", "c", "d", "e"} {
		events = append(events, event(id, provisioner.EventRunning))
	}
	require.ErrorIs(t, c.Report(t.Context(), events), provisioner.ErrRejected, "the loop is to send none of them again")
	require.ElementsMatch(t, []string{"a", "b", "c", "d", "e"}, accepted)

	_, err := c.Facts(t.Context(), nil)
	require.NoError(t, err, "what is refused for good does not stand in the way of a reconcile")
}

// A runner without labels can't be told of in the API's words, and is not let
// into a request that it would spoil.
func TestARunnerWithoutLabelsIsNotReported(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	bare := provisioner.Event{Runner: "bare", State: provisioner.EventRunning, At: time.Now()}
	require.NoError(t, c.Report(t.Context(), []provisioner.Event{bare, event("a", provisioner.EventRunning)}))
	require.Len(t, s.to(ertReport), 1)
	require.NotContains(t, s.to(ertReport)[0], "bare")
}

// What a reconcile leaves out is ended by the service: the one of Retire carries
// those that were launched or told of since the last question too.
func TestRetireLeavesNobodyOut(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	s.reply[assignRoute] = answer(409, `{"code":"reservation-expired"}`)
	_, err := c.Facts(t.Context(), []provisioner.Ref{ref("old", "i1", "v1")})
	require.NoError(t, err)
	require.NoError(t, c.Announce(t.Context(), ref("launched", "i1", "v1")))
	require.NoError(t, c.Report(t.Context(), []provisioner.Event{event("adopted", provisioner.EventRunning)}))
	_, err = c.Retire(t.Context(), []provisioner.Ref{ref("late", "i2", "v1")})
	require.NoError(t, err)
	bodies := s.to(ertReconcile)
	for _, id := range []string{"old", "launched", "adopted", "late"} {
		require.Contains(t, bodies[len(bodies)-1], `"`+id+`"`)
	}
	none, err := c.Retire(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, none)
	require.Len(t, s.to(ertReconcile), len(bodies), "of nobody nothing is asked")
}

func TestWhatRunnersAreGiven(t *testing.T) {
	mint := func(g shipfox.Generation, wait time.Duration) provisioner.Registration {
		s, _ := newStub(t, g)
		s.reply[batchRoute] = answer(200, `{"runner_instances":[{"runner_instance_id":"i1","bootstrap_token":"sf_rbt_x","request_index":0}]}`)
		if g != shipfox.Head {
			s.reply[batchRoute] = answer(404, `{"code":"not-found"}`)
			s.reply[mintRoute] = turns(answer(400, `{}`), answer(200, `{"tokens":[{"provider_runner_id":"r1","registration_token":"sf_ert_x"}]}`))
		}
		c, err := shipfox.New(shipfox.Config{URL: s.url, RunnerURL: "http://runners.example/api", Token: tokens.New(tokens.Provisioner), PollMaxDuration: wait})
		require.NoError(t, err)
		_, err = c.Identify(t.Context())
		require.NoError(t, err)
		minted, err := c.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r1", Template: "small", Reservation: "v1", Labels: []string{"linux", "small"}}})
		require.NoError(t, err)
		require.Len(t, minted, 1)
		return minted[0]
	}
	head := mint(shipfox.Head, 0)
	require.Equal(t, map[string]string{
		"SHIPFOX_API_URL": "http://runners.example/api", "SHIPFOX_RUNNER_BOOTSTRAP_TOKEN": "sf_rbt_x", "SHIPFOX_RUNNER_LABELS": "linux,small",
		"SHIPFOX_POLL_MAX_DURATION_MS": "300000", "SHIPFOX_RUNNER_MAX_LIFETIME_SECONDS": "3600", "SHIPFOX_RUNNER_PROVIDER_KIND": "docker",
	}, head.Env)
	require.Equal(t, map[string]string{shipfox.LabelInstance: "i1", provisioner.LabelWorkspace: "w1"}, head.Labels)
	ert := mint(shipfox.Ert, -1)
	require.Equal(t, map[string]string{
		"SHIPFOX_API_URL": "http://runners.example/api", "SHIPFOX_RUNNER_REGISTRATION_TOKEN": "sf_ert_x", "SHIPFOX_RUNNER_LABELS": "linux,small",
		"SHIPFOX_POLL_MAX_DURATION_MS": "0", "SHIPFOX_RUNNER_MAX_LIFETIME_SECONDS": "3600",
	}, ert.Env, "a negative wait is for ever, which the runner reads as 0")
	require.Equal(t, map[string]string{provisioner.LabelWorkspace: "w1"}, ert.Labels)
}

// What was minted while the service spoke another generation has no instance: it
// is not launched, and no route is made of an empty id.
func TestARegistrationOfAnotherGeneration(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	require.ErrorIs(t, c.Announce(t.Context(), ref("r1", "", "v1")), provisioner.ErrRefused)
	for _, call := range s.all() {
		require.NotContains(t, call, "provider-runner")
	}
}

// The reason of an end is told in the words of the reference.
func TestReasonsOfEnds(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	for reason, word := range map[string]string{
		"exit-code: 3": "exit-code-3", "exit-code: 137, killed": "exit-code-137, killed", "out-of-memory: 137": "oom", "image: not found": "image: not found", "max-lifetime": "max-lifetime",
	} {
		require.NoError(t, c.Report(t.Context(), []provisioner.Event{{Runner: "r1", Labels: ref("", "i1", "v1").Labels, State: provisioner.EventFailed, Reason: reason, At: time.Now()}}))
		bodies := s.to(ertReport)
		require.Contains(t, bodies[len(bodies)-1], `"reason":"`+word+`"`)
	}
}
