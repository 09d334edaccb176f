package shipfox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
)

// idOf is how a generation names a runner, and the two routes that do.
func idOf(g shipfox.Generation) (id, reconcile, report string) {
	if g == shipfox.Pr {
		return "provisioned_runner_id", prReconcile, "/provisioners/provisioned-runners/report"
	}
	return "provider_runner_id", ertReconcile, ertReport
}

// rows is the answer to a reconcile: each runner's state and session, as JSON.
func rows(id string, runners ...string) string {
	var all []string
	for _, r := range runners {
		f := strings.Fields(r)
		all = append(all, fmt.Sprintf(`{%q:%q,"state":%s,"reservation_id":null,"runner_session_id":%s,"bound_job":null,"desired_intent":"keep"}`, id, f[0], f[1], f[2]))
	}
	return `{"runners":[` + strings.Join(all, ",") + `],"terminated_absent_` + id + `s":[]}`
}

// One that never registers is ended in every generation, however the service shows
// it: by a row without a session, by a row without anything, or not at all.
func TestWhoNeverRegistersIsFencedInEveryGeneration(t *testing.T) {
	for _, g := range []shipfox.Generation{shipfox.Head, shipfox.Ert, shipfox.Pr} {
		id, reconcile, report := idOf(g)
		for name, shown := range map[string]string{"starting": rows(id, `r1 "starting" null`), "null": rows(id, "r1 null null"), "left out": rows(id)} {
			t.Run(string(g)+" "+name, func(t *testing.T) {
				s, c := newStub(t, g)
				runner := ref("r1", "i1", "v1")
				require.NoError(t, c.Announce(t.Context(), runner))
				s.reply[reconcile] = answer(200, shown)
				s.reply[assignRoute] = answer(404, `{"code":"reservation-not-found"}`)
				facts, err := c.Facts(t.Context(), []provisioner.Ref{runner})
				require.NoError(t, err)
				require.Equal(t, []provisioner.Fact{{Runner: "r1", Registered: provisioner.No}}, facts)
				before := len(s.to(report))
				retired, err := c.Retire(t.Context(), []provisioner.Ref{runner})
				require.NoError(t, err)
				require.Equal(t, []string{"r1"}, retired)
				told := s.to(report)[before:]
				require.Len(t, told, 2)
				require.Contains(t, told[0], `"stopping"`)
				require.Contains(t, told[1], `"terminated"`)
				require.Contains(t, told[1], `"reason":"registration-deadline"`)
			})
		}
	}
}

// Who registered between the question and the fence is kept, and is told of as
// stopping at most: that is lifted again.
func TestWhoRegistersAtTheLastMomentIsKept(t *testing.T) {
	for _, g := range []shipfox.Generation{shipfox.Ert, shipfox.Pr} {
		s, c := newStub(t, g)
		id, reconcile, report := idOf(g)
		runner := ref("r1", "", "v1")
		require.NoError(t, c.Announce(t.Context(), runner))
		late := answer(200, rows(id, `r1 "stopping" "session"`))
		none := answer(200, rows(id, `r1 "running" null`))
		s.reply[reconcile] = func(w http.ResponseWriter, body string) {
			if bodies := s.to(report); strings.Contains(bodies[len(bodies)-1], `"stopping"`) {
				late(w, body)
				return
			}
			none(w, body)
		}
		retired, err := c.Retire(t.Context(), []provisioner.Ref{runner})
		require.NoError(t, err)
		require.Empty(t, retired)
		require.NotContains(t, strings.Join(s.to(report), ""), `"terminated"`)
	}
}

// Who registers while the fence can't be finished is told of as stopping that once: the
// service has lifted that, and nothing would lift it a second time.
func TestWhoRegisteredMeanwhileIsNotStoppedAgain(t *testing.T) {
	for _, g := range []shipfox.Generation{shipfox.Head, shipfox.Ert, shipfox.Pr} {
		s, c := newStub(t, g)
		id, reconcile, report := idOf(g)
		runner := ref("r1", "i1", "v1")
		s.reply[attachRoute] = answer(200, `{"attached":true}`)
		require.NoError(t, c.Announce(t.Context(), runner))
		stopped := func() int { return strings.Count(strings.Join(s.to(report), ""), `"stopping"`) }
		s.reply[reconcile] = func(w http.ResponseWriter, body string) {
			if stopped() > 0 {
				answer(500, `{"code":"server-error"}`)(w, body)
				return
			}
			answer(200, rows(id, `r1 null null`))(w, body)
		}
		_, err := c.Retire(t.Context(), []provisioner.Ref{runner})
		require.Error(t, err)
		require.Equal(t, 1, stopped())
		s.reply[reconcile] = answer(200, rows(id, `r1 "running" "session"`))
		for range 3 {
			retired, err := c.Retire(t.Context(), []provisioner.Ref{runner})
			require.NoError(t, err)
			require.Empty(t, retired)
		}
		require.Equal(t, 1, stopped())
	}
}

// Of one that the service neither shows nor was told of nothing is concluded, and no
// row is made of it.
func TestStrangersOfOlderGenerations(t *testing.T) {
	for _, g := range []shipfox.Generation{shipfox.Ert, shipfox.Pr} {
		s, c := newStub(t, g)
		id, reconcile, report := idOf(g)
		s.reply[reconcile] = answer(200, rows(id, "x null null"))
		stranger := []provisioner.Ref{ref("x", "", "v1")}
		facts, err := c.Facts(t.Context(), stranger)
		require.NoError(t, err)
		require.Equal(t, provisioner.Unknown, facts[0].Registered)
		retired, err := c.Retire(t.Context(), stranger)
		require.NoError(t, err)
		require.Empty(t, retired)
		require.Empty(t, s.to(report))

		// An adopted one is reported, and from then on it is no stranger.
		require.NoError(t, c.Report(t.Context(), []provisioner.Event{event("x", provisioner.EventRunning)}))
		facts, err = c.Facts(t.Context(), stranger)
		require.NoError(t, err)
		require.Equal(t, provisioner.No, facts[0].Registered)
	}
}

// What is no answer is unknown: nobody is ended for it.
func TestNoAnswerEndsNobody(t *testing.T) {
	for name, broken := range map[string]func(http.ResponseWriter, string){
		"reconcile 500": answer(500, `{"code":"server-error"}`), "reconcile 429": answer(429, `{}`), "lost": lost, "of another service": answer(200, `{}`),
	} {
		for _, g := range []shipfox.Generation{shipfox.Head, shipfox.Ert, shipfox.Pr} {
			t.Run(string(g)+" "+name, func(t *testing.T) {
				s, c := newStub(t, g)
				_, reconcile, report := idOf(g)
				runner := []provisioner.Ref{ref("r1", "i1", "v1")}
				require.NoError(t, c.Announce(t.Context(), runner[0]))
				s.reply[assignRoute] = answer(404, `{"code":"reservation-not-found"}`)
				s.reply[reconcile] = broken
				_, err := c.Facts(t.Context(), runner)
				require.Error(t, err)
				retired, err := c.Retire(t.Context(), runner)
				require.Error(t, err)
				require.Empty(t, retired)
				require.NotContains(t, strings.Join(s.to(report), ""), `"terminated"`)
			})
		}
	}
	for name, broken := range map[string]func(http.ResponseWriter, string){"503": answer(503, `{}`), "429": answer(429, `{}`), "lost": lost} {
		t.Run("assignments "+name, func(t *testing.T) {
			s, c := newStub(t, shipfox.Head)
			runner := []provisioner.Ref{ref("r1", "i1", "v1")}
			s.reply[ertReconcile] = answer(200, rows("provider_runner_id", "r1 null null"))
			s.reply[assignRoute] = broken
			facts, err := c.Facts(t.Context(), runner)
			require.NoError(t, err)
			require.Equal(t, provisioner.Unknown, facts[0].Registered)
			retired, err := c.Retire(t.Context(), runner)
			require.NoError(t, err)
			require.Empty(t, retired)
			require.NotContains(t, strings.Join(s.to(ertReport), ""), `"terminated"`)
		})
	}
}

// A reservation that is gone never stops the pass: those of others are asked about,
// and are known.
func TestAReservationThatIsGoneStopsNobody(t *testing.T) {
	for status, body := range map[int]string{404: `{"code":"reservation-not-found"}`, 409: `{"code":"reservation-expired"}`} {
		s, c := newStub(t, shipfox.Head)
		s.reply[ertReconcile] = answer(200, rows("provider_runner_id", "gone1 null null", "gone2 null null", "good1 null null", "good2 null null"))
		s.reply[assignRoute] = func(w http.ResponseWriter, asked string) {
			if strings.Contains(asked, `"v-gone"`) {
				answer(status, body)(w, "")
				return
			}
			answer(200, `{"runner_instance_ids":["i3","i4"]}`)(w, "")
		}
		facts, err := c.Facts(t.Context(), []provisioner.Ref{ref("gone1", "i1", "v-gone"), ref("gone2", "i2", "v-gone"), ref("good1", "i3", "v-good"), ref("good2", "i4", "v-good")})
		require.NoError(t, err)
		var known []provisioner.Known
		for _, f := range facts {
			known = append(known, f.Registered)
		}
		require.Equal(t, []provisioner.Known{provisioner.No, provisioner.No, provisioner.Yes, provisioner.Yes}, known)
		require.Len(t, s.to(assignRoute), 4, "the refused list one by one, the other one as a whole")
	}
}
