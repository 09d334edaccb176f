package docker_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/enginetest"
)

// registry is a registry of one image, on a loopback address, which engines
// speak plain HTTP to. It counts pulls and fails on demand.
// Source: distribution.github.io/distribution/spec/api.
type registry struct {
	address string
	blobs   map[string][]byte
	layer   string // the layer's digest, packed
	root    string // and unpacked

	mu       sync.Mutex
	manifest []byte
	pulls    int
	status   int           // not 0: what is answered for the manifest
	gate     chan struct{} // not nil: the layer waits for its end
	waiting  chan struct{} // closed when the layer is first asked for
	corrupt  bool          // the layer is not what the manifest says
	user     string        // not empty: asked for, with password
	password string
	words    string // not empty: what is said with status
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	r := &registry{blobs: map[string][]byte{}, waiting: make(chan struct{})}
	root := enginetest.RootFS(t, newID())
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write(root)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	r.layer = r.add(packed.Bytes())
	r.root = digest(root)
	r.push(t, "1")

	server := httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(server.Close)
	r.address = strings.TrimPrefix(server.URL, "http://")
	engine := enginetest.Engine(t)
	t.Cleanup(func() { enginetest.RemoveImages(t, engine, r.address) })
	return r
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (r *registry) add(blob []byte) string {
	r.blobs[digest(blob)] = blob
	return digest(blob)
}

// push makes a new version of the image, which prints version when it is run.
func (r *registry) push(t *testing.T, version string) {
	t.Helper()
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Env": []string{"PATH=/bin", "VERSION=" + version}, "Cmd": []string{"/bin/sh", "-c", "echo version $VERSION"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{r.root}},
	})
	require.NoError(t, err)
	part := func(kind string, blob []byte) map[string]any {
		return map[string]any{"mediaType": "application/vnd.docker." + kind, "size": len(blob), "digest": digest(blob)}
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": part("container.image.v1+json", config),
		"layers": []any{part("image.rootfs.diff.tar.gzip", r.blobs[r.layer])},
	})
	require.NoError(t, err)
	r.set(func() {
		r.add(config)
		r.manifest = manifest
	})
}

const manifestType = "application/vnd.docker.distribution.manifest.v2+json"

// image is the image's name on the engine.
func (r *registry) image() string { return r.address + "/team/runner:latest" }

// set changes what the registry does.
func (r *registry) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// count is how many pulls there were.
func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pulls
}

func (r *registry) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if user, password, _ := req.BasicAuth(); r.user != "" && (user != r.user || password != r.password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		return
	}
	_, rest, found := strings.Cut(req.URL.Path, "/v2/team/runner/")
	switch kind, name, _ := strings.Cut(rest, "/"); {
	case req.URL.Path == "/v2/":
		w.WriteHeader(http.StatusOK)
	case !found:
		fail(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
	case kind == "manifests":
		r.serveManifest(w, req, name)
	case kind == "blobs":
		r.serveBlob(w, name)
	default:
		http.NotFound(w, req)
	}
}

func (r *registry) serveManifest(w http.ResponseWriter, req *http.Request, name string) {
	if name == "latest" {
		r.pulls++ // some engines ask with HEAD, and then by digest
	}
	switch {
	case r.status != 0:
		fail(w, r.status, "MANIFEST_UNKNOWN", cmp.Or(r.words, "manifest unknown"))
	case name != "latest" && name != digest(r.manifest):
		fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
	default:
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", digest(r.manifest))
		w.Header().Set("Content-Length", fmt.Sprint(len(r.manifest)))
		if req.Method == http.MethodGet {
			_, _ = w.Write(r.manifest)
		}
	}
}

func (r *registry) serveBlob(w http.ResponseWriter, name string) {
	blob := r.blobs[name]
	if name == r.layer {
		select {
		case <-r.waiting:
		default:
			close(r.waiting)
		}
		if gate := r.gate; gate != nil {
			r.mu.Unlock()
			<-gate
			r.mu.Lock()
		}
		if r.corrupt {
			blob = bytes.Repeat([]byte("x"), len(blob))
		}
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
	_, _ = w.Write(blob)
}

func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
}
