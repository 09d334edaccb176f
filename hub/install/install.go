package install

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/tokens"
)

// Prefix is that of all routes.
const Prefix = "/install/"

type handler struct {
	Config
	shelf *shelf
}

// New returns the handler of everything under Prefix. It needs no credential:
// the enrolment in a script's name is one, and the rest is public. Its errors are
// told as the API tells its own.
func New(cfg Config) (http.Handler, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	dir := cfg.AgentsDir
	if dir != "" {
		dir = filepath.Clean(dir)
	}
	return &handler{Config: cfg, shelf: &shelf{dir: dir, beside: cfg.beside, version: cfg.version, hashes: map[string]hashed{}}}, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	problem.Serve(http.HandlerFunc(h.serve), w, r, nil)
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, Prefix)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "GET and HEAD are served here", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	enrolment, isScript := strings.CutSuffix(name, ".sh")
	program := programName.FindStringSubmatch(name)
	switch {
	case !ok:
		http.NotFound(w, r)
	case isScript:
		h.serveScript(w, r, enrolment)
	case program != nil && program[3] == "":
		h.serveProgram(w, r, program[1], program[2])
	case program != nil:
		h.serveManifest(w, r, program[1], program[2])
	case name == keyFile:
		h.serveKey(w, r)
	default:
		http.Error(w, "there is no such file: scripts, agents and their manifests are served here", http.StatusNotFound)
	}
}

// What a refused script says.
const (
	sayAgain   = "make a new line with: slipway hosts reenrol NAME"
	sayUnknown = "the hub does not know this enrolment: " + sayAgain
	saySpent   = "this enrolment was used already: " + sayAgain
	sayExpired = "this enrolment has expired: " + sayAgain
	sayTrouble = "the hub can't give the installation right now, and its log says why: run the line again later"
	sayNoURL   = "the hub was not told where hosts reach it (--public-url): nothing can be installed from it"
)

func (h *handler) serveScript(w http.ResponseWriter, r *http.Request, enrolment string) {
	script := h.scriptFor(r, enrolment)
	header := w.Header()
	header.Set("Content-Type", "text/x-shellscript; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(script)))
	// 200 whatever it says: see the package comment.
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(script) // whoever is gone asks again
}

func (h *handler) scriptFor(r *http.Request, text string) []byte {
	enrolment, err := tokens.Parse(text)
	if err != nil || enrolment.Kind() != tokens.Enrolment {
		return refuse(sayUnknown)
	}
	if h.PublicURL == "" {
		return refuse(sayNoURL)
	}
	guest, err := h.Hosts.Invited(r.Context(), enrolment)
	var script []byte
	if err == nil {
		script, err = h.script(guest, enrolment)
	}
	switch {
	case err == nil:
		h.Logger.Info("installation script given", "host", shown(guest.Host))
		return script
	case errors.Is(err, ErrUnknown):
		return refuse(sayUnknown)
	case errors.Is(err, ErrSpent):
		return refuse(saySpent)
	case errors.Is(err, ErrExpired):
		return refuse(sayExpired)
	}
	h.Logger.Error("installation script not given", "err", tokens.Redact(err.Error()))
	return refuse(sayTrouble)
}

func (h *handler) serveProgram(w http.ResponseWriter, r *http.Request, goos, arch string) {
	a, err := h.shelf.open(goos, arch)
	if err != nil {
		h.fail(w, goos+"/"+arch, err)
		return
	}
	defer func() { _ = a.file.Close() }()
	h.content(w, r, "application/octet-stream", a.sha256, a.info.ModTime(), a.file)
}

func (h *handler) serveManifest(w http.ResponseWriter, r *http.Request, goos, arch string) {
	a, err := h.shelf.open(goos, arch)
	if err != nil {
		h.fail(w, goos+"/"+arch, err)
		return
	}
	defer func() { _ = a.file.Close() }()
	if a.manifest == nil {
		http.Error(w, "the agent for "+goos+"/"+arch+" has no manifest on this hub: it was not released with a signature", http.StatusNotFound)
		return
	}
	h.text(w, r, a.info.ModTime(), a.manifest.Text())
}

func (h *handler) serveKey(w http.ResponseWriter, r *http.Request) {
	key, err := h.shelf.key()
	if err != nil {
		h.fail(w, keyFile, err)
		return
	}
	if key.IsZero() {
		http.Error(w, "this hub has no key for updates", http.StatusNotFound)
		return
	}
	h.text(w, r, time.Time{}, []byte(key.Text()))
}

func (h *handler) text(w http.ResponseWriter, r *http.Request, modified time.Time, text []byte) {
	h.content(w, r, "text/plain; charset=utf-8", fmt.Sprintf("%x", sha256.Sum256(text)), modified, bytes.NewReader(text))
}

// content serves what has this SHA-256, with ranges.
func (h *handler) content(w http.ResponseWriter, r *http.Request, kind, sum string, modified time.Time, content io.ReadSeeker) {
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("Cache-Control", "no-cache") // it may be kept, and is asked for by its ETag
	header.Set("ETag", `"`+sum+`"`)
	http.ServeContent(w, r, "", modified, content)
}

func (h *handler) fail(w http.ResponseWriter, what string, err error) {
	if errors.Is(err, errNoAgent) {
		http.Error(w, "this hub has no agent for "+what, http.StatusNotFound)
		return
	}
	h.Logger.Error("not given out", "what", what, "err", err)
	http.Error(w, "this hub can't give "+what+" right now, and its log says why", http.StatusServiceUnavailable)
}
