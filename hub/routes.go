package hub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/queue/shipfoxapi"
	"github.com/slipway-ci/slipway/hub/runnerapi"
	"github.com/slipway-ci/slipway/internal/version"
	"github.com/slipway-ci/slipway/tokens"
)

// handlers makes the handler of every route and that of the runners' alone.
func (h *Hub) handlers() (all, runners http.Handler, err error) {
	fox, err := shipfoxapi.New(shipfoxapi.Config{Queue: h.queue, Logger: h.log.Named("shipfoxapi")})
	if err != nil {
		return nil, nil, err
	}
	runner, err := runnerapi.New(runnerapi.Config{Queue: h.queue, Logs: h.logs, Guard: h.guard, Logger: h.log.Named("runnerapi")})
	if err != nil {
		return nil, nil, err
	}
	people, err := api.New(api.Config{Queue: h.queue, Logs: h.logs, Guard: h.guard, Version: version.String(), Logger: h.log.Named("api")})
	if err != nil {
		return nil, nil, err
	}
	every, only := http.NewServeMux(), http.NewServeMux()
	// Both handlers answer an unknown route as the API that it belongs to does.
	every.Handle("/", fox.Handler())
	only.Handle("/", fox.RunnerHandler())
	for _, mux := range []*http.ServeMux{every, only} {
		mux.Handle(runnerapi.Prefix, runner)
	}
	every.Handle(api.Prefix, people)
	every.HandleFunc("GET /healthz", h.healthz)
	every.HandleFunc("GET /readyz", h.readyz)
	every.HandleFunc("GET /api/v1/hub", h.info)
	return every, only, nil
}

// healthz says that the process serves.
func (h *Hub) healthz(w http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprintln(w, "ok")
}

// readyz says whether jobs are accepted: the database answers, and the disk has room.
func (h *Hub) readyz(w http.ResponseWriter, r *http.Request) {
	problem := ""
	if _, err := h.queue.Bytes(r.Context()); err != nil {
		h.log.Error("not ready", "err", err)
		problem = "the database does not answer"
	} else if h.guard.Full() {
		problem = "the disk is too full for new jobs"
	}
	if problem != "" {
		http.Error(w, problem, http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// Info is what GET /api/v1/hub tells an admin.
type Info struct {
	Version string `json:"version"`
	// URL and RunnerURL are where the hub is reached, by clients on its machine
	// and by runners.
	URL       string `json:"url"`
	RunnerURL string `json:"runner_url"`
	// Free and Total are bytes of the data folder's disk; Full: no new jobs.
	Free  int64 `json:"disk_free_bytes"`
	Total int64 `json:"disk_total_bytes"`
	Full  bool  `json:"disk_full"`
}

func (h *Hub) info(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if _, err := h.queue.Authenticate(r.Context(), strings.TrimSpace(token), tokens.Admin); err != nil || !strings.EqualFold(scheme, "bearer") {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]any{"title": "Unauthorized", "status": http.StatusUnauthorized, "detail": "an admin token is needed"})
		return
	}
	room := h.guard.Room()
	_ = json.NewEncoder(w).Encode(Info{
		Version: version.String(), URL: h.URL(), RunnerURL: h.RunnerURL(), Free: room.Free, Total: room.Total, Full: room.Full,
	})
}
