package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
)

// Why: package json puts U+FFFD in the place of what is no text, and takes the last of
// two keys. A script would run that nobody wrote.
func TestNoBodyIsChangedInSilence(t *testing.T) {
	w := newWorld(t)
	var document struct {
		Paths map[string]map[string]struct {
			Body struct {
				Content map[string]any `json:"content"`
			} `json:"requestBody"`
		} `json:"paths"`
	}
	require.NoError(t, json.Unmarshal([]byte(w.do("GET", "openapi.json", nil).body), &document))
	asked := 0
	for path, methods := range document.Paths {
		for method, op := range methods {
			if op.Body.Content["application/json"] == nil {
				continue
			}
			asked++
			path := strings.NewReplacer("/api/v1/", "", "{name}", "x", "{id}", "x").Replace(path)
			for body, why := range map[string]string{
				"{\"name\":\"caf\xe9 canary\"}":           "byte 12 is not UTF-8",
				`{"name":"\ud800 canary"}`:                "byte 9 has half of a surrogate pair",
				`{"name":"canary","name":"canary again"}`: "byte 17 begins a key that is there already",
			} {
				a := w.do(strings.ToUpper(method), path, body)
				p := w.problem(400, "invalid", a)
				require.Len(t, p.Errors, 1, "%s %s", method, path)
				require.Equal(t, "body", p.Errors[0].Location)
				require.Contains(t, p.Errors[0].Message, why, "%s %s", method, path)
				require.NotContains(t, a.body, "canary")
			}
		}
	}
	require.GreaterOrEqual(t, asked, 10)
}

func TestAKeyInOtherLettersIsAnotherKey(t *testing.T) {
	h := newHub(t)
	p := h.problem(422, "invalid", h.do("POST", "jobs", `{"labels":["a"],"RUN":"x"}`))
	require.Equal(t, "body.RUN", p.Errors[0].Location)
	p = h.problem(422, "invalid", h.do("POST", "jobs", `{"labels":["a"],"run":"x","Labels":["b"]}`))
	require.Equal(t, "body.Labels", p.Errors[0].Location)
	var job api.Job
	h.into(201, h.do("POST", "jobs", `{"labels":["a"],"run":"printf '\u00e9 \ud83d\ude00'","env":{"a":"1","A":"2"}}`), &job)
	require.Equal(t, "printf 'é 😀'", job.Run)
	require.Equal(t, []string{"A", "a"}, job.EnvNames)
}
