package api

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/provisioner"
)

func (s *Server) runnerRoutes() {
	rest.Register(s.Server, rest.Viewer("runner"), rest.Operation("list-runners", http.MethodGet, "runners", "List the runners of the fleet, the newest first"), s.listRunners)
	rest.Register(s.Server, rest.Viewer("runner"), rest.Operation("show-runner", http.MethodGet, "runners/{id}", "Show a runner", http.StatusNotFound), s.showRunner)
	logs := rest.Operation("read-runner-log", http.MethodGet, "runners/{id}/logs", "Read what a runner has printed",
		http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable)
	logs.Description = "Plain text: of a long one the last 4 MiB. 409 host-offline where its host can't be asked now."
	logs.Responses = map[string]*huma.Response{"200": {Description: "The log", Content: map[string]*huma.MediaType{"text/plain": {}}}}
	rest.Register(s.Server, rest.Viewer("runner"), logs, s.runnerLog)
	stop := rest.Operation("stop-runner", http.MethodPost, "runners/{id}/stop", "Have a runner end, with its job", http.StatusNotFound)
	stop.Description = "It returns at once. A runner whose host is offline is ended when that is back."
	rest.Register(s.Server, rest.Operator("runner"), rest.Answering(http.StatusAccepted, stop), s.stopRunner)
}

type runnersInput struct {
	Host     string `query:"host" maxLength:"64" doc:"name or id of a host"`
	ScaleSet string `query:"scale_set" maxLength:"255"`
	State    string `query:"state" enum:"starting,running,stopping,exited,failed,unknown"`
	Limit    int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	rest.From
}

type runnerList struct {
	Body rest.List[Runner]
}

// listRunners goes by the ids, which begin with the time.
func (s *Server) listRunners(ctx context.Context, in *runnersInput) (*runnerList, error) {
	filter := fleet.RunnerFilter{Template: in.ScaleSet, State: backend.State(in.State), Before: in.Key(), Limit: in.Limit}
	var err error
	if filter.Host, err = s.hostOnly(ctx, in.Host); err != nil {
		return nil, err
	}
	found, more, err := s.Fleet.Page(ctx, filter)
	if err != nil {
		return nil, s.fault(err)
	}
	if len(found) == 0 {
		if err := s.knownScaleSet(ctx, in.ScaleSet); err != nil {
			return nil, err
		}
	}
	items, err := s.runners(ctx, found...)
	if err != nil {
		return nil, err
	}
	next := ""
	if more {
		next = found[len(found)-1].ID
	}
	return &runnerList{rest.PageOf(items, next, in.From)}, nil
}

// runners are runners as they are answered.
func (s *Server) runners(ctx context.Context, list ...fleet.PlacedRunner) ([]Runner, error) {
	ids := make([]string, len(list))
	for i, r := range list {
		ids[i] = r.ID
	}
	jobs, err := s.Queue.JobsOf(ctx, ids)
	if err != nil {
		return nil, s.fault(err)
	}
	items := make([]Runner, len(list))
	for i, r := range list {
		items[i] = Runner{
			ID: r.ID, ScaleSet: r.Labels[provisioner.LabelTemplate], Host: r.Host, HostID: r.HostID, State: string(r.State), Job: jobs[r.ID],
			ExitCode: r.ExitCode, Error: r.Error, CreatedAt: orNull(r.Created), StartedAt: orNull(r.Started), EndedAt: orNull(r.Finished),
		}
	}
	return items, nil
}

// findRunner returns one runner.
func (s *Server) findRunner(ctx context.Context, id string) (fleet.PlacedRunner, error) {
	r, host, ok := s.Fleet.Runner(ctx, id)
	if ok {
		return fleet.PlacedRunner{Runner: r, HostID: host}, nil
	}
	// There is none, or the fleet can't tell now.
	if _, _, err := s.Fleet.Page(ctx, fleet.RunnerFilter{Limit: 1}); err != nil {
		return fleet.PlacedRunner{}, s.fault(err)
	}
	return fleet.PlacedRunner{}, problem.New(http.StatusNotFound, "not-found", fmt.Sprintf("there is no runner %.64s", id))
}

type runnerInput struct {
	ID string `path:"id" maxLength:"255"`
}

type oneRunner struct {
	Body Runner
}

func (s *Server) showRunner(ctx context.Context, in *runnerInput) (*oneRunner, error) {
	r, err := s.findRunner(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	items, err := s.runners(ctx, r)
	if err != nil {
		return nil, err
	}
	return &oneRunner{items[0]}, nil
}

func (s *Server) stopRunner(ctx context.Context, in *runnerInput) (*oneRunner, error) {
	r, err := s.findRunner(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if s.Terminator == nil {
		return nil, rest.NotConfigured("a loop that runs runners")
	}
	d := rest.DeedOf(ctx)
	d.Set("host", r.Host)
	d.Set("scale_set", r.Labels[provisioner.LabelTemplate])
	if r.State.Ended() {
		d.Detail = "it had ended already"
	}
	shown, err := s.showRunner(ctx, in) // before it may be gone
	if r.State != backend.Exited {      // one that failed is kept for people to look at, until now
		s.Terminator.Terminate([]string{r.ID}, reasonStopped)
	}
	return shown, err
}

// reasonStopped is why a runner ended that somebody stopped.
const reasonStopped = "stopped-by-operator"

func (s *Server) runnerLog(ctx context.Context, in *struct {
	ID   string `path:"id" maxLength:"255"`
	Tail int    `query:"tail" minimum:"0" maximum:"1000000" doc:"how many lines from the end; 0: all"`
}) (*huma.StreamResponse, error) {
	if _, err := s.findRunner(ctx, in.ID); err != nil {
		return nil, err
	}
	done, err := s.logStreams.Open(ctx)
	if err != nil {
		return nil, err
	}
	log, err := s.Fleet.Logs(ctx, in.ID, in.Tail)
	if err != nil {
		done()
		return nil, s.fault(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer done()
		defer func() { _ = log.Close() }()
		r, w := humago.Unwrap(ctx)
		out := newOutput(w, false, s.WriteTimeout)
		if r.Method == http.MethodHead {
			return
		}
		if _, err := io.Copy(out, log); err != nil {
			panic(http.ErrAbortHandler) // it must not look whole
		}
	}}, nil
}
