package backendtest

import (
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

var listing = []promise{
	{"list/nothing", "an owner without runners must be told so without an error, else a new provisioner never starts", listNothing},
	{"list/began", "the loop counts launches that returned after the look began on top of it; a Began that is too late loses runners", listBegan},
	{"list/labels verbatim", "all that the loop knows of a runner after a restart is in its labels", listLabels},
	{"list/no labels", "a runner without labels is ours all the same", listNoLabels},
	{"list/environment not told", "the registration stands in the environment, and listings are logged, stored and sent", listEnv},
	{"list/many", "a listing that tells a page and hides the rest: what is on the next one is launched anew, and never reaped", listMany},
	{"list/after a restart", "a restart is an ordinary pass: what runs is adopted with its labels, what ended meanwhile tells how", listReopened},
}

func listNothing(s *suite) {
	require.Empty(s, s.list(s.b).Runners)
}

func listBegan(s *suite) {
	id := s.launch(s.harness.Runs())
	returned := time.Now()
	s.eventually("a listing began after the launch had returned", func() bool {
		listing := s.list(s.b)
		_, ok := pick(listing, id)
		require.True(s, ok || !listing.Began.After(returned), "it began %v after the launch had returned, and lacks its runner", listing.Began.Sub(returned))
		return ok && listing.Began.After(returned)
	})
}

// oddLabels are allowed by Spec.Labels, and have each broken an encoding somewhere.
var oddLabels = map[string]string{
	"empty":                  "",
	"unicode":                "größe 東京 🛳 \u202e",
	"quotes":                 `"it's" \"x\" \\ ` + "`y`",
	"json":                   `{"a": [1, null]}`,
	"lines":                  "one\ntwo\r\n\tthree\n",
	"equals":                 "a=b=c",
	"commas":                 "a,b,,c,",
	"spaces":                 "  both ends  ",
	"percent":                "%s %2F %00",
	"shell":                  "$HOME $(id) ${x} ; rm *",
	"long":                   strings.Repeat("long ", 1000),
	"number":                 "0001.50",
	"bool":                   "false",
	"a.b_c-d":                "key with all the signs",
	"0":                      "key of one digit",
	"owner":                  "not the owner",
	"id":                     "not the id",
	"runner":                 "not the runner",
	"runner-id":              "not the runner either",
	"host":                   "not the host",
	"state":                  "exited",
	"labels":                 "linux,x64",
	"template":               "small",
	"reservation":            "0b5fb0b8-6a4f-4a0e-8e04-9a9e2f4f0a52",
	"slipway.owner":          "not the owner",
	"slipway.runner":         "not the runner",
	strings.Repeat("k", 64):  "longest key",
	strings.Repeat("k.", 32): "longest key with dots",
}

func listLabels(s *suite) {
	spec := s.spec(s.harness.Runs())
	spec.Labels = oddLabels
	s.launchSpec(s.b, spec)
	s.sameLabels(oddLabels, s.must(s.b, spec.ID).Labels)
	if r, ok := s.harness.(Reopener); ok {
		s.reopen(r)
		s.sameLabels(oddLabels, s.must(s.b, spec.ID).Labels)
	}
}

// sameLabels compares label by label, so that a failure can be read.
func (s *suite) sameLabels(want, got map[string]string) {
	s.Helper()
	for key, value := range want {
		told, ok := got[key]
		require.True(s, ok, "label %q is lost", key)
		require.Equal(s, value, told, "label %q", key)
	}
	for key := range got {
		require.Contains(s, want, key, "a label that nobody set")
	}
}

func listNoLabels(s *suite) {
	spec := s.spec(s.harness.Runs())
	spec.Labels = nil
	s.launchSpec(s.b, spec)
	require.Empty(s, s.must(s.b, spec.ID).Labels)
}

func listEnv(s *suite) {
	spec := s.spec(s.harness.Exits(3))
	s.launchSpec(s.b, spec) // sane looks for the canary in every listing
	s.ended(s.b, spec.ID)
	err := s.b.Launch(s.ctx(), spec)
	require.Error(s, err)
	require.NotContains(s, err.Error(), canaryValue)
	if r, ok := s.harness.(Reopener); ok {
		s.reopen(r)
		s.must(s.b, spec.ID)
	}
}

// many is how many runners listMany lists: engines that tell page by page begin
// with 10 or 20.
const many = 4 * crowd

// listMany launches as many of them as an engine makes in a moment: on one that
// is slow they are not worth the wait.
func listMany(s *suite) {
	var specs []backend.Spec
	for end := time.Now().Add(2 * time.Second); len(specs) < many && (len(specs) == 0 || time.Now().Before(end)); {
		first := len(specs)
		for i := range crowd {
			specs = append(specs, s.spec(s.harness.Exits(first+i)))
		}
		for _, err := range together(crowd, func(i int) error { return s.b.Launch(s.ctx(), specs[first+i]) }) {
			require.NoError(s, err)
		}
		for _, spec := range specs[first:] { // they make room for the next
			s.ended(s.b, spec.ID)
		}
	}
	if len(specs) < many {
		s.Logf("the engine is slow: %d runners, instead of %d", len(specs), many)
	}
	listing := s.list(s.b)
	require.Len(s, listing.Runners, len(specs))
	for code, spec := range specs {
		r, ok := pick(listing, spec.ID)
		require.True(s, ok, "runner %s is not listed", spec.ID)
		s.sameLabels(spec.Labels, r.Labels)
		s.exited(r, code)
	}
}

func listReopened(s *suite) {
	r := need[Reopener](s)
	runs := s.running()
	exits := s.spec(s.harness.Exits(5))
	s.launchSpec(s.b, exits)
	before := s.must(s.b, runs)

	s.reopen(r)
	after := s.must(s.b, runs)
	require.Equal(s, before, after, "the same runner before and after the restart")
	s.alive(runs, 1)
	ended := s.ended(s.b, exits.ID)
	require.Equal(s, backend.Failed, ended.State)
	require.NotNil(s, ended.ExitCode, "how a runner ended is known after a restart too")
	require.Equal(s, 5, *ended.ExitCode)
	require.ErrorIs(s, s.b.Launch(s.ctx(), exits), backend.ErrExists, "ids are never reused, restarts included")

	require.NoError(s, s.b.Remove(s.ctx(), runs), "an adopted runner can be removed")
	s.gone(s.b, runs)
	s.dead(runs)
}

// dead checks that no process is left, where the harness can tell.
func (s *suite) dead(id string) {
	s.Helper()
	s.alive(id, 0)
}
