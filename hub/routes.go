package hub

import (
	"fmt"
	"net/http"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/edge"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts/enrolapi"
	"github.com/slipway-ci/slipway/hub/install"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/shipfoxapi"
	"github.com/slipway-ci/slipway/hub/runnerapi"
	"github.com/slipway-ci/slipway/internal/version"
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
	c := h.compute
	people, err := api.New(api.Config{
		Queue: h.queue, Logs: h.logs, Guard: h.guard, Events: h.events, Hosts: c.hosts, ScaleSets: c.scaleSets, Fleet: c.fleet, Terminator: c, Statuses: c.Statuses, Info: h.info,
		ClientIP: edge.ClientIP, Version: version.String(), Logger: h.log.Named("api"),
	})
	if err != nil {
		return nil, nil, err
	}
	installer, err := h.installer()
	if err != nil {
		return nil, nil, err
	}
	h.metrics.registry.MustRegister(levels{h})
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
	every.Handle("GET /metrics", people.Require(queue.RoleViewer, h.metrics.handler(h.log.Named("metrics"))))
	every.Handle(fleet.Path, people.Adopt(c.fleet.Handler()))
	every.Handle(enrolapi.Path, people.Adopt(enrolapi.Handler(c.hosts, h.log.Named("hosts"))))
	every.Handle(install.Prefix, installer)
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

// info is what GET /api/v1/hub tells.
func (h *Hub) info() api.HubInfo {
	room := h.guard.Room()
	return api.HubInfo{
		Version: version.String(), URL: h.URL(), RunnerURL: h.runnerURLForHosts(), PublicURL: h.compute.hosts.PublicURL(),
		Free: room.Free, Total: room.Total, Full: room.Full, ControlPlanes: h.compute.planes(),
	}
}

func (h *Hub) installer() (http.Handler, error) {
	cfg := install.Config{Hosts: install.Of(h.compute.hosts), PublicURL: h.compute.hosts.PublicURL(), AgentsDir: h.cfg.AgentsDir, Logger: h.log.Named("install")}
	if h.cfg.SysboxFile != "" {
		table, err := install.ReadSysbox(h.cfg.SysboxFile)
		if err != nil {
			return nil, fmt.Errorf("%w: SysboxFile: %w", ErrConfig, err)
		}
		cfg.Sysbox = table
	}
	return install.New(cfg)
}
