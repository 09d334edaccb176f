package shipfox_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
)

// script answers with each of its words in turn: true, false, lost, or a status and,
// after it, the seconds of a Retry-After.
func script(t *testing.T, words ...string) (answer func(*http.Request) (int, string), asked func() int) {
	var mu sync.Mutex
	n := 0
	answer = func(r *http.Request) (int, string) {
		mu.Lock()
		defer mu.Unlock()
		n++
		if n > len(words) {
			t.Errorf("try %d, and there should be %d", n, len(words))
			return 401, ""
		}
		switch word := words[n-1]; word {
		case "lost":
			return 0, ""
		case "true", "false":
			return 200, `{"attached":` + word + `}`
		default:
			var status, seconds int
			if _, err := fmt.Sscan(word, &status, &seconds); err == nil {
				r.Context().Value(answered{}).(http.Header).Set("Retry-After", fmt.Sprint(seconds))
			}
			return status, ""
		}
	}
	return answer, func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

const (
	told    = ""        // nothing is wrong: the launch goes on
	refused = "refused" // nothing starts
	unknown = "unknown" // neither
)

func requireOutcome(t *testing.T, want string, err error) {
	t.Helper()
	switch want {
	case told:
		require.NoError(t, err)
	case refused:
		require.ErrorIs(t, err, provisioner.ErrRefused)
	default:
		require.Error(t, err)
		require.NotErrorIs(t, err, provisioner.ErrRefused)
	}
}

// False in the first answer is a refusal. When the answer is lost the attach is
// repeated once, and then true and false both mean go on. What was not taken is no
// answer and not lost: it is made again when the service says.
func TestAttach(t *testing.T) {
	const quick, slow = 250 * time.Millisecond, time.Second // the pause before a repeat, at least and at most
	for answers, c := range map[string]struct {
		want        string
		least, most time.Duration
	}{
		"true":                      {told, 0, 0},
		"false":                     {refused, 0, 0},
		"lost, true":                {told, quick, slow},
		"lost, false":               {told, quick, slow},
		"500, false":                {told, quick, slow},
		"502, false":                {told, quick, slow},
		"503, false":                {told, quick, slow},
		"504, true":                 {told, quick, slow},
		"408, false":                {told, quick, slow},
		"lost, lost":                {unknown, quick, slow},
		"502, 502":                  {unknown, quick, slow},
		"401":                       {unknown, 0, 0},
		"404":                       {unknown, 0, 0},
		"301":                       {unknown, 0, 0},
		"lost, 401":                 {unknown, quick, slow},
		"429 1, true":               {told, time.Second, 1250 * time.Millisecond},
		"503 2, true":               {told, 2 * time.Second, 2250 * time.Millisecond},
		"429 1, false":              {refused, time.Second, 1250 * time.Millisecond},
		"503 1, 429 1, false":       {refused, 2 * time.Second, 2500 * time.Millisecond},
		"lost, 429 1, false":        {told, time.Second + quick, 1250*time.Millisecond + slow},
		"429 1, lost, false":        {told, time.Second + quick, 1250*time.Millisecond + slow},
		"lost, 429 1, lost":         {unknown, time.Second + quick, 1250*time.Millisecond + slow},
		"429 7, 429 8, 429 7, true": {told, 22 * time.Second, 22750 * time.Millisecond},
		"429 8, 429 8, 429 8":       {unknown, 16 * time.Second, 16500 * time.Millisecond}, // a third time can't be waited for
		"429 25":                    {unknown, 0, 0},
		"429, true":                 {told, quick, slow},
		"429, false":                {refused, quick, slow},
		"429, 429":                  {unknown, quick, slow},
		"lost, 429, false":          {told, 2 * quick, 2 * slow},
		"429, lost, false":          {told, 2 * quick, 2 * slow},
	} {
		t.Run(answers, func(t *testing.T) {
			words := strings.Split(answers, ", ")
			attach, asked := script(t, words...)
			inBubble(t, map[string]func(*http.Request) (int, string){"/i1/provider-runner": attach}, func(t *testing.T, control *shipfox.ControlPlane) {
				began := time.Now()
				requireOutcome(t, c.want, control.Announce(t.Context(), ref("r1", "i1", "v1")))
				require.Equal(t, len(words), asked())
				require.GreaterOrEqual(t, time.Since(began), c.least)
				require.LessOrEqual(t, time.Since(began), c.most)
			})
		})
	}
}

// In the older generations "starting" is reported before the launch. That is safe to
// repeat; nothing else differs.
func TestStartingOfOlderGenerations(t *testing.T) {
	for answers, want := range map[string]string{
		"true": told, "400": refused, "lost, true": told, "502, true": told, "502, 502": unknown, "429 1, true": told, "503 2, 429 1, true": told, "429 60": unknown, "lost, 400": refused,
	} {
		t.Run(answers, func(t *testing.T) {
			words := strings.Split(answers, ", ")
			report, asked := script(t, words...)
			ert := map[string]func(*http.Request) (int, string){"tokens/batch": func(*http.Request) (int, string) { return 400, "" }, "/report": report}
			inBubble(t, ert, func(t *testing.T, c *shipfox.ControlPlane) {
				requireOutcome(t, want, c.Announce(t.Context(), ref("r1", "", "v1")))
				require.Equal(t, len(words), asked())
			})
		})
	}
}

// Where the service said that it does not want to be told of runners now, the others
// wait as well, and nothing is minted that could not be launched.
func TestOthersRestToo(t *testing.T) {
	for g, routes := range map[shipfox.Generation]map[string]string{
		shipfox.Head: {"mint": "instances/batch", "announce": "/provider-runner"},
		shipfox.Ert:  {"mint": "tokens/batch", "announce": "/report"},
	} {
		t.Run(string(g), func(t *testing.T) {
			announce, asked := script(t, "429 30", "true", "true", "true")
			mints := 0
			mint := func(*http.Request) (int, string) {
				if mints++; g == shipfox.Ert {
					return 400, ""
				}
				return 200, `{"runner_instances":[]}`
			}
			inBubble(t, map[string]func(*http.Request) (int, string){routes["mint"]: mint, routes["announce"]: announce}, func(t *testing.T, c *shipfox.ControlPlane) {
				mints = 0 // of those that found out the generation
				began := time.Now()
				require.Error(t, c.Announce(t.Context(), ref("r1", "i1", "v1")), "longer than it can be waited for")
				require.Error(t, c.Announce(t.Context(), ref("r2", "i2", "v1")))
				require.Zero(t, time.Since(began))
				time.Sleep(10 * time.Second)
				_, err := c.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r3", Reservation: "v1"}})
				require.ErrorContains(t, err, "429")
				require.Zero(t, mints)
				require.Equal(t, 1, asked())

				var all sync.WaitGroup
				for i := range 3 {
					all.Go(func() {
						if err := c.Announce(t.Context(), ref(fmt.Sprint("n", i), fmt.Sprint("i", i), "v1")); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				require.Equal(t, 4, asked())
				require.GreaterOrEqual(t, time.Since(began), 30*time.Second)
				require.LessOrEqual(t, time.Since(began), 30250*time.Millisecond)
				_, _ = c.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r3", Reservation: "v1"}})
				require.Equal(t, 1, mints)
			})
		})
	}
}

// An announcement ends with its caller, and does not begin a wait that it can't end.
func TestAnAnnouncementIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		limit, took time.Duration
		words       []string
	}{
		"the rest is longer": {3 * time.Second, 0, []string{"429 3"}},
		"it ends while lost": {1200 * time.Millisecond, 0, []string{"lost"}},
	} {
		t.Run(name, func(t *testing.T) {
			attach, asked := script(t, c.words...)
			inBubble(t, map[string]func(*http.Request) (int, string){"/provider-runner": attach}, func(t *testing.T, control *shipfox.ControlPlane) {
				ctx, cancel := context.WithTimeout(t.Context(), c.limit)
				defer cancel()
				began := time.Now()
				requireOutcome(t, unknown, control.Announce(ctx, ref("r1", "i1", "v1")))
				require.Equal(t, c.took, time.Since(began))
				require.Equal(t, len(c.words), asked())
			})
		})
	}
	inBubble(t, map[string]func(*http.Request) (int, string){"/provider-runner": never}, func(t *testing.T, c *shipfox.ControlPlane) {
		began := time.Now()
		requireOutcome(t, unknown, c.Announce(t.Context(), ref("r1", "i1", "v1")))
		require.LessOrEqual(t, time.Since(began), 25*time.Second)
		require.GreaterOrEqual(t, time.Since(began), 20*time.Second, "two tries of ten")
	})
	attach, _ := script(t, "429 20")
	inBubble(t, map[string]func(*http.Request) (int, string){"/provider-runner": attach}, func(t *testing.T, c *shipfox.ControlPlane) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		requireOutcome(t, unknown, c.Announce(ctx, ref("r1", "i1", "v1")))
		require.Equal(t, time.Second, time.Since(began))
	})
}
