package shipfox_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// service answers as the recorded one did. What a recording can't know, the ids
// that our client makes, is put in their places.
type service struct {
	t        *testing.T
	recorded []exchange
	stop     chan struct{}
	refuses  bool // assignments

	mu    sync.Mutex
	said  map[string]int // answers used up, by route
	heard []exchange
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e := exchange{Method: r.Method, Path: r.URL.Path, Body: string(body), Headers: map[string]string{}}
	for name := range r.Header {
		e.Headers[strings.ToLower(name)] = r.Header.Get(name)
	}
	e.Status, e.Answer = s.answer(w, r, e)
	s.mu.Lock()
	s.heard = append(s.heard, e)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(e.Status)
	_, _ = io.WriteString(w, e.Answer)
}

func (s *service) answer(w http.ResponseWriter, r *http.Request, e exchange) (int, string) {
	switch {
	case strings.HasSuffix(e.Path, "/assignments") && s.refuses:
		return 409, `{"code":"runner-instance-not-assignable"}`
	case strings.HasSuffix(e.Path, "/assignments"):
		var asked struct {
			IDs []string `json:"runner_instance_ids"`
		}
		_ = json.Unmarshal([]byte(e.Body), &asked)
		text, _ := json.Marshal(map[string][]string{"runner_instance_ids": asked.IDs})
		return 200, string(text)
	case strings.HasSuffix(e.Path, "/provider-runner"):
		return 200, `{"attached":true}`
	}
	found, known := s.next(e)
	if !known && !strings.HasSuffix(e.Path, "/poll") {
		return 404, `{"code":"not-found"}`
	}
	if found == nil { // more of the same than was recorded
		if strings.HasSuffix(e.Path, "/poll") {
			select {
			case <-s.stop:
			case <-r.Context().Done():
			}
			return 200, `{"stats":[],"reservations":[]}`
		}
		return 200, `{"accepted":1,"reservations_released":0,"runners":[]}`
	}
	w.Header().Set("Date", found.Date["date"])
	return found.Status, s.fit(found, e)
}

// next is the next recorded answer on a route that is not empty-handed.
func (s *service) next(e exchange) (*exchange, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, n := false, 0
	for i, r := range s.recorded {
		if r.Method != e.Method || r.Path != e.Path {
			continue
		}
		known = true
		if strings.HasSuffix(e.Path, "/poll") && strings.Contains(r.Answer, `"reservations":[]`) {
			continue
		}
		if reservation(r.Body) != reservation(e.Body) {
			continue
		}
		key := e.Path + reservation(e.Body)
		if n++; n > s.said[key] {
			s.said[key]++
			return &s.recorded[i], true
		}
	}
	// An empty request to the old mint route is refused before it is looked at.
	if strings.HasSuffix(e.Path, "/runner-registration-tokens/batch") && e.Body == "{}" && known {
		return &exchange{Status: 400, Answer: `{"code":"validation-error"}`}, true
	}
	return nil, known
}

// reservation is the one that a mint is for; empty for other requests.
func reservation(body string) string {
	_, rest, _ := strings.Cut(body, `"reservation_id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	if strings.Contains(body, `"events"`) {
		return ""
	}
	return id
}

// fit puts the ids of a mint request in the place of the recorded ones.
func (s *service) fit(found *exchange, e exchange) string {
	answer := found.Answer
	for list, id := range map[string]string{"runner_instances": "provider_runner_id", "provisioned_runners": "provisioned_runner_id"} {
		was, is := idsOf(found.Body, list, id), idsOf(e.Body, list, id)
		for i := range min(len(was), len(is)) {
			answer = strings.ReplaceAll(answer, was[i], is[i])
		}
	}
	return answer
}

func idsOf(body, list, id string) (out []string) {
	var v map[string]json.RawMessage
	var each []map[string]string
	if json.Unmarshal([]byte(body), &v) == nil && json.Unmarshal(v[list], &each) == nil {
		for _, one := range each {
			if one[id] != "" {
				out = append(out, one[id])
			}
		}
	}
	return out
}

func TestOurClientSendsWhatTheReferenceSent(t *testing.T) {
	for _, name := range []string{"head", "ert", "pr"} {
		t.Run(name, func(t *testing.T) {
			recorded := recording(t, name)
			want := distinct(finished(stories(t, recorded)))
			require.Len(t, want, 1, "the reference tells the same story of each runner that ended")

			s := &service{t: t, recorded: recorded, stop: make(chan struct{}), said: map[string]int{}}
			server := httptest.NewServer(s)
			defer server.Close()
			defer close(s.stop)
			drive(t, server.URL, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(finished(stories(t, s.heard))) >= len(finished(stories(t, recorded)))
			})
			s.mu.Lock()
			defer s.mu.Unlock()
			require.Equal(t, want, distinct(finished(stories(t, s.heard))))
			for _, e := range s.heard {
				require.Regexp(t, `^Bearer sf_pt_`, e.Headers["authorization"])
				if name == "head" && strings.HasSuffix(e.Path, "/reconcile") && !strings.Contains(e.Body, "[]") {
					require.Equal(t, "1", e.Headers["x-shipfox-reconcile-intended-reservation"])
				}
			}
		})
	}
}

// A restart finds what runs: it asks about all of them at once, and tells of each as
// the reference does.
func TestARestartSendsWhatTheReferenceSent(t *testing.T) {
	recorded := recording(t, "restart")
	var (
		told  struct{ Events []map[string]any }
		specs []backend.Spec
	)
	reports := slices.DeleteFunc(slices.Clone(recorded), func(e exchange) bool { return !strings.HasSuffix(e.Path, "/report") })
	assigned := first(recorded, "/assignments")
	require.NoError(t, json.Unmarshal([]byte(reports[0].Body), &told))
	for _, e := range told.Events {
		labels := []string{}
		for _, label := range e["labels"].([]any) {
			labels = append(labels, label.(string))
		}
		specs = append(specs, backend.Spec{ID: e["provider_runner_id"].(string), Labels: map[string]string{
			provisioner.LabelTemplate: e["template_key"].(string), provisioner.LabelLabels: strings.Join(labels, ","),
			shipfox.LabelInstance: e["runner_instance_id"].(string), provisioner.LabelReservation: reservation(assigned.Body),
			provisioner.LabelMaxLifetime: "1000000h", provisioner.LabelRegistrationDeadline: "1000000h", // the recording is old
		}})
	}
	require.Len(t, specs, 100)

	s := &service{t: t, recorded: recorded, stop: make(chan struct{}), said: map[string]int{}, refuses: true}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(s.stop) })
	control, err := shipfox.New(shipfox.Config{URL: server.URL, Token: tokens.New(tokens.Provisioner)})
	require.NoError(t, err)
	_, err = control.Identify(t.Context())
	require.NoError(t, err)
	heard := func() []exchange {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Clone(s.heard)
	}
	runLoop(t, control, 1, specs...)
	eventually(t, "all are told of and asked about", func() bool {
		return len(stories(t, heard())) == 100 && first(heard(), "/assignments").Body != ""
	})
	ours := heard()
	require.Equal(t, stories(t, recorded), stories(t, ours))
	for _, e := range ours {
		if strings.HasSuffix(e.Path, "/reconcile") && e.Body != first(ours, "/reconcile").Body { // the first finds out the generation
			require.ElementsMatch(t, list(t, first(recorded, "/reconcile").Body, "observed_provider_runner_ids"), list(t, e.Body, "observed_provider_runner_ids"))
			require.Equal(t, "1", e.Headers["x-shipfox-reconcile-intended-reservation"])
		}
	}
	require.Equal(t, assigned.Path, first(ours, "/assignments").Path)
	require.Equal(t, reservation(assigned.Body), reservation(first(ours, "/assignments").Body))
	require.ElementsMatch(t, list(t, assigned.Body, "runner_instance_ids"), list(t, first(ours, "/assignments").Body, "runner_instance_ids"))
}

// first is the first exchange on a route.
func first(all []exchange, end string) exchange {
	i := slices.IndexFunc(all, func(e exchange) bool { return strings.HasSuffix(e.Path, end) })
	if i < 0 {
		return exchange{}
	}
	return all[i]
}

// list is a list of texts in a body.
func list(t *testing.T, body, field string) []string {
	t.Helper()
	var fields map[string]json.RawMessage
	var out []string
	require.NoError(t, json.Unmarshal([]byte(body), &fields))
	require.NoError(t, json.Unmarshal(fields[field], &out))
	return out
}

// finished are the stories that came to an end, the steps alone that every
// runner goes through.
func finished(all map[string][]string) map[string][]string {
	out := map[string][]string{}
	for runner, story := range all {
		if strings.HasPrefix(story[len(story)-1], "stopped") {
			out[runner] = story
		}
	}
	return out
}

// drive runs a loop over the service until done.
func drive(t *testing.T, url string, done func() bool) {
	t.Helper()
	control, err := shipfox.New(shipfox.Config{URL: url, Token: tokens.New(tokens.Provisioner)})
	require.NoError(t, err)
	engine := memory.New(memory.Config{Behaviour: func(backend.Spec) memory.Program {
		return memory.Program{Start: 20 * time.Millisecond, Run: 500 * time.Millisecond}
	}})
	var templates []template.Template
	for _, key := range []string{"bb", "sleeper", "fake", "failing"} {
		label := map[string]string{"bb": "bb", "sleeper": "sleep", "fake": "fake", "failing": "fail"}[key]
		labels, err := template.Canonical([]string{"docker", label})
		require.NoError(t, err)
		templates = append(templates, template.Template{Key: key, Labels: labels, CPU: 1, Memory: 1 << 30, MaxConcurrency: 50})
	}
	identity, err := control.Identify(t.Context())
	require.NoError(t, err)
	loop, err := provisioner.New(provisioner.Config{ControlPlane: control, Backend: engine.Backend(identity.ID), Templates: templates})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx) }()
	require.Eventually(t, done, 20*time.Second, 20*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
}
