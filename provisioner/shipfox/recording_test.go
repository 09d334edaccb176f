package shipfox_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// exchange is one request and its answer: a line of a recording, or one that
// our client made.
type exchange struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Body    string            `json:"body"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Date    map[string]string `json:"resHeaders"`
	Answer  string            `json:"res"`
}

// recordings are what the hub's side of the API is tested with too.
const recordings = "../../hub/queue/shipfoxapi/testdata/"

// recording reads shipfox-NAME.jsonl: a conversation of the reference provisioner
// with the real service.
func recording(t *testing.T, name string) (out []exchange) {
	t.Helper()
	f, err := os.Open(recordings + "shipfox-" + name + ".jsonl")
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e exchange
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		if e.Status != 0 && strings.HasPrefix(e.Path, "/provisioners/") {
			out = append(out, e)
		}
	}
	require.NotEmpty(t, out)
	return out
}

// stories tells for each runner of a conversation the first request of each
// kind that concerned it, in order: its route and its fields.
func stories(t *testing.T, conversation []exchange) map[string][]string {
	s := teller{t: t, out: map[string][]string{}, seen: map[string]bool{}, instances: map[string][]string{}}
	for _, e := range conversation {
		var body map[string]any
		if e.Body == "" || json.Unmarshal([]byte(e.Body), &body) != nil {
			continue
		}
		switch {
		case strings.HasSuffix(e.Path, "/provider-runner"):
			s.attach(e, body)
		case strings.HasSuffix(e.Path, "/runner-instances/batch"):
			s.batch(e, body)
		case strings.HasSuffix(e.Path, "/runner-registration-tokens/batch"):
			s.mint(e, body)
		case strings.HasSuffix(e.Path, "/report"):
			s.report(e, body)
		}
	}
	return s.out
}

type teller struct {
	t         *testing.T
	out       map[string][]string
	seen      map[string]bool
	instances map[string][]string // what was asked for an instance, until it is attached
}

func (s teller) add(runner, kind, line string) {
	if !s.seen[runner+kind] {
		s.seen[runner+kind] = true
		s.out[runner] = append(s.out[runner], kind+": "+line)
	}
}

func fields(v any) string {
	m, _ := v.(map[string]any)
	return strings.Join(slices.Sorted(maps.Keys(m)), " ")
}

func (s teller) batch(e exchange, body map[string]any) {
	var answer struct {
		Instances []struct {
			ID    string `json:"runner_instance_id"`
			Index int    `json:"request_index"`
		} `json:"runner_instances"`
	}
	require.NoError(s.t, json.Unmarshal([]byte(e.Answer), &answer))
	asked, _ := body["runner_instances"].([]any)
	for _, i := range answer.Instances {
		s.instances[i.ID] = []string{"batch", fmt.Sprintf("%s %s {%s} each {%s}", e.Method, e.Path, fields(body), fields(asked[i.Index]))}
	}
}

func (s teller) attach(e exchange, body map[string]any) {
	instance := strings.Split(e.Path, "/")[3]
	runner, _ := body["provider_runner_id"].(string)
	if asked := s.instances[instance]; asked != nil {
		s.add(runner, asked[0], asked[1])
	}
	s.add(runner, "attach", fmt.Sprintf("%s %s {%s}", e.Method, strings.Replace(e.Path, instance, "INSTANCE", 1), fields(body)))
}

func (s teller) mint(e exchange, body map[string]any) {
	for list, id := range map[string]string{"runner_instances": "provider_runner_id", "provisioned_runners": "provisioned_runner_id"} {
		asked, _ := body[list].([]any)
		for _, one := range asked {
			runner, _ := one.(map[string]any)[id].(string)
			s.add(runner, "mint", fmt.Sprintf("%s %s {%s} each {%s}", e.Method, e.Path, fields(body), fields(one)))
		}
	}
}

func (s teller) report(e exchange, body map[string]any) {
	events, _ := body["events"].([]any)
	for _, one := range events {
		event := one.(map[string]any)
		runner, _ := event["provider_runner_id"].(string)
		if runner == "" {
			runner, _ = event["provisioned_runner_id"].(string)
		}
		s.add(runner, event["state"].(string), fmt.Sprintf("%s %s {%s}", e.Method, e.Path, fields(event)))
	}
}

// distinct are the different stories; Runners of one kind all have the same.
func distinct(all map[string][]string) (out []string) {
	set := map[string]bool{}
	for _, story := range all {
		set[strings.Join(story, "\n")] = true
	}
	return slices.Sorted(maps.Keys(set))
}
