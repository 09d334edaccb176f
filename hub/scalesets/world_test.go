package scalesets

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/hub/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeHosts are hosts by id.
type fakeHosts struct {
	mu    sync.Mutex
	names map[string]string
	err   error // of every call
	asked int
}

func (h *fakeHosts) Resolve(_ context.Context, nameOrID string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	for id, name := range h.names {
		if id == nameOrID || name == nameOrID {
			return id, h.err
		}
	}
	if h.err != nil {
		return "", h.err
	}
	return "", fmt.Errorf("find host %s: %w", nameOrID, hosts.ErrNotFound)
}

func (h *fakeHosts) Name(_ context.Context, id string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if name, ok := h.names[id]; ok || h.err != nil {
		return name, h.err
	}
	return "", fmt.Errorf("host %s: %w", id, hosts.ErrNotFound)
}

// world is a registry over a new data folder.
type world struct {
	*Registry
	t     *testing.T
	dir   string
	hosts *fakeHosts
	log   *bytes.Buffer

	mu     sync.Mutex
	events []string
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, dir: storetest.Dir(t), log: new(bytes.Buffer),
		hosts: &fakeHosts{names: map[string]string{"id-1": "builder-1", "id-2": "builder-2", "id-3": "arm"}}}
	log := hclog.New(&hclog.LoggerOptions{Output: w.log, Level: hclog.Trace})
	s, err := store.Open(t.Context(), store.Config{Dir: w.dir, Logger: log})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	v, err := vault.Open(t.Context(), vault.Config{Store: s, Logger: log})
	require.NoError(t, err)
	cfg := Config{Store: s, Hosts: w.hosts, Vault: v, Logger: log,
		Events: func(kind, object, text string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, kind+" "+object+": "+text)
		}}
	for _, c := range change {
		c(&cfg)
	}
	w.Registry, err = New(t.Context(), cfg)
	require.NoError(t, err)
	return w
}

// read is a Document from JSON.
func read(t *testing.T, text string) (d Document) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &d))
	return d
}

// small is a document with what is required, and more.
func small(t *testing.T, more string) Document {
	t.Helper()
	return read(t, `{"labels": ["linux"], "cpu": 1, "memory": "1GiB", "max": 3`+more+`}`)
}

func (w *world) create(name, more string) ScaleSet {
	w.t.Helper()
	s, err := w.Create(w.t.Context(), name, small(w.t, more))
	require.NoError(w.t, err)
	return s
}

func (w *world) get(name string) ScaleSet {
	w.t.Helper()
	s, err := w.Get(w.t.Context(), name)
	require.NoError(w.t, err)
	return s
}

func (w *world) document(name string) Document {
	w.t.Helper()
	d, err := w.Document(w.t.Context(), w.get(name))
	require.NoError(w.t, err)
	return d
}

func (w *world) names() (out []string) {
	w.t.Helper()
	sets, _, err := w.List(w.t.Context(), Filter{})
	require.NoError(w.t, err)
	for _, s := range sets {
		out = append(out, s.Key)
	}
	return out
}

// told returns the events since it was last asked.
func (w *world) told() (out []string) {
	out, w.events = w.events, nil
	return out
}

func (w *world) apply(yaml string, o ApplyOptions) Diff {
	w.t.Helper()
	d, err := w.Apply(w.t.Context(), []byte(yaml), o)
	require.NoError(w.t, err)
	return d
}

func (w *world) export() string {
	w.t.Helper()
	text, err := w.Export(w.t.Context())
	require.NoError(w.t, err)
	return string(text)
}
