package policy

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeEngine answers as an engine does up to the creation of a container, which
// it notes and refuses.
type fakeEngine struct {
	host string

	mu       sync.Mutex
	creates  []map[string]any
	networks []map[string]any
	pulls    []string
}

func newFakeEngine(t *testing.T) *fakeEngine {
	e := &fakeEngine{}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	e.host = "tcp://" + strings.TrimPrefix(server.URL, "http://")
	return e
}

// take returns what was asked for since the last call.
func (e *fakeEngine) take() (creates, networks []map[string]any, pulls []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	creates, networks, pulls = e.creates, e.networks, e.pulls
	e.creates, e.networks, e.pulls = nil, nil, nil
	return creates, networks, pulls
}

func (e *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Api-Version", "1.47")
	answer := func(status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	message := func(text string) map[string]string { return map[string]string{"message": text} }
	switch {
	case strings.HasSuffix(r.URL.Path, "/_ping"):
		answer(http.StatusOK, "OK")
	case r.Method == http.MethodGet && strings.HasPrefix(path, "images/"):
		answer(http.StatusOK, map[string]string{"Os": "linux", "Architecture": "amd64"})
	case r.Method == http.MethodGet && path == "networks":
		answer(http.StatusOK, e.networks)
	case path == "networks/create":
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		e.networks = append(e.networks, body)
		answer(http.StatusCreated, map[string]string{"Id": "n"})
	case path == "images/create":
		e.pulls = append(e.pulls, r.URL.Query().Get("fromImage"))
	case path == "containers/create":
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		e.creates = append(e.creates, body)
		answer(http.StatusBadRequest, message("that is all that is needed"))
	default:
		answer(http.StatusNotFound, message("no such thing"))
	}
}

func decode(t require.TestingT, text string) map[string]any {
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &out))
	return out
}
