package api

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/provisioner"
)

func (s *Server) runnerRoutes() {
	register(s, viewer("runner"), operation("list-runners", http.MethodGet, "runners", "List the runners of the fleet, the newest first"), s.listRunners)
	register(s, viewer("runner"), operation("show-runner", http.MethodGet, "runners/{id}", "Show a runner", http.StatusNotFound), s.showRunner)
	logs := operation("read-runner-log", http.MethodGet, "runners/{id}/logs", "Read what a runner has printed",
		http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable)
	logs.Description = "Plain text: of a long one the last 4 MiB. 409 host-offline where its host can't be asked now."
	logs.Responses = map[string]*huma.Response{"200": {Description: "The log", Content: map[string]*huma.MediaType{"text/plain": {}}}}
	register(s, viewer("runner"), logs, s.runnerLog)
	stop := operation("stop-runner", http.MethodPost, "runners/{id}/stop", "Have a runner end, with its job", http.StatusNotFound)
	stop.Description = "It returns at once. A runner whose host is offline is ended when that is back."
	register(s, operator("runner"), answering(http.StatusAccepted, stop), s.stopRunner)
}

type runnersInput struct {
	Host     string `query:"host" maxLength:"64" doc:"name or id of a host"`
	ScaleSet string `query:"scale_set" maxLength:"255"`
	State    string `query:"state" enum:"starting,running,stopping,exited,failed,unknown"`
	Limit    int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Cursor   string `query:"cursor" maxLength:"255" doc:"next of the answer before"`
}

type runnerList struct {
	Body list[Runner]
}

// listRunners goes by the ids, which begin with the time.
func (s *Server) listRunners(ctx context.Context, in *runnersInput) (*runnerList, error) {
	listing, err := s.Fleet.List(ctx)
	if err != nil {
		return nil, s.problem(err)
	}
	found := slices.DeleteFunc(listing.Runners, func(r backend.Runner) bool {
		return in.Cursor != "" && r.ID >= in.Cursor || in.State != "" && string(r.State) != in.State ||
			in.ScaleSet != "" && r.Labels[provisioner.LabelTemplate] != in.ScaleSet || in.Host != "" && !s.isOn(r, in.Host)
	})
	slices.SortFunc(found, func(a, b backend.Runner) int { return cmp.Compare(b.ID, a.ID) })
	next := ""
	if len(found) > in.Limit {
		found = found[:in.Limit]
		next = found[in.Limit-1].ID
	}
	items, err := s.runners(ctx, found)
	if err != nil {
		return nil, err
	}
	return &runnerList{listOf(items, next)}, nil
}

// isOn says whether a runner is on the host with this name or id.
func (s *Server) isOn(r backend.Runner, host string) bool {
	if r.Host == host {
		return true
	}
	id, _ := s.Fleet.HostOf(r.ID)
	return id == host
}

// runners are runners as they are answered.
func (s *Server) runners(ctx context.Context, list []backend.Runner) ([]Runner, error) {
	ids := make([]string, len(list))
	for i, r := range list {
		ids[i] = r.ID
	}
	jobs, err := s.Queue.JobsOf(ctx, ids)
	if err != nil {
		return nil, s.problem(err)
	}
	items := make([]Runner, len(list))
	for i, r := range list {
		host, _ := s.Fleet.HostOf(r.ID)
		items[i] = Runner{
			ID: r.ID, ScaleSet: r.Labels[provisioner.LabelTemplate], Host: r.Host, HostID: host, State: string(r.State), Job: jobs[r.ID],
			ExitCode: r.ExitCode, Error: r.Error, CreatedAt: r.Created, StartedAt: orNull(r.Started), EndedAt: orNull(r.Finished),
		}
	}
	return items, nil
}

// findRunner returns one runner.
func (s *Server) findRunner(ctx context.Context, id string) (backend.Runner, error) {
	listing, err := s.Fleet.List(ctx)
	if err != nil {
		return backend.Runner{}, s.problem(err)
	}
	i := slices.IndexFunc(listing.Runners, func(r backend.Runner) bool { return r.ID == id })
	if i < 0 {
		return backend.Runner{}, newProblem(http.StatusNotFound, "not-found", fmt.Sprintf("there is no runner %.64s", id))
	}
	return listing.Runners[i], nil
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
	items, err := s.runners(ctx, []backend.Runner{r})
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
		return nil, notConfigured("a loop that runs runners")
	}
	d := deedOf(ctx)
	d.set("host", r.Host)
	d.set("scale_set", r.Labels[provisioner.LabelTemplate])
	if r.State.Ended() {
		d.detail = "it had ended already"
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
	if s.streams.Add(1) > int64(s.Streams) {
		s.streams.Add(-1)
		return nil, newProblem(http.StatusServiceUnavailable, "too-many-streams", "too many logs are read at once: try again later")
	}
	log, err := s.Fleet.Logs(ctx, in.ID, in.Tail)
	if err != nil {
		s.streams.Add(-1)
		return nil, s.problem(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer s.streams.Add(-1)
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
