package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/hosts"
)

func (s *Server) hostRoutes() {
	list := rest.Operation("list-hosts", http.MethodGet, "hosts", "List hosts by name", http.StatusUnprocessableEntity)
	rest.Register(s.Server, rest.Viewer("host"), list, s.listHosts)
	add := rest.Operation("add-host", http.MethodPost, "hosts", "Make a host, and the line that makes a machine be it", http.StatusConflict, http.StatusUnprocessableEntity)
	add.Description = "The enrolment's line is a secret, for one use; it is shown this once."
	rest.Register(s.Server, rest.Admin("host"), rest.Answering(http.StatusCreated, add), s.addHost)
	rest.Register(s.Server, rest.Viewer("host"), rest.Operation("show-host", http.MethodGet, "hosts/{name}", "Show a host", http.StatusNotFound), s.showHost)
	rest.Register(s.Server, rest.Operator("host"), rest.Operation("edit-host", http.MethodPatch, "hosts/{name}", "Change what is set for a host",
		http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity), s.editHost)
	remove := rest.Operation("remove-host", http.MethodDelete, "hosts/{name}", "Take a host out for ever",
		http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed)
	rest.Register(s.Server, rest.Admin("host"), rest.Answering(http.StatusNoContent, remove), s.removeHost)
	rest.Register(s.Server, rest.Admin("host"), rest.Answering(http.StatusCreated, rest.Operation("reenrol-host", http.MethodPost, "hosts/{name}/reenrol",
		"Make a new line for a host; nothing of it changes", http.StatusNotFound, http.StatusConflict)), s.reenrolHost)
	s.hostDeedRoutes()
	rest.Register(s.Server, rest.Viewer("enrolment"), rest.Operation("list-enrolments", http.MethodGet, "enrolments", "List the enrolments that live, without their secrets"), s.listEnrolments)
	rest.Register(s.Server, rest.Admin("enrolment"), rest.Answering(http.StatusNoContent, rest.Operation("cancel-enrolment", http.MethodDelete, "enrolments/{id}",
		"End an enrolment that was not used", http.StatusNotFound, http.StatusConflict)), s.cancelEnrolment)
}

type hostInput struct {
	Name string `path:"name" maxLength:"64" doc:"name or id"`
}

type oneHost struct {
	ETag string `header:"ETag"`
	Body Host
}

type hostList struct {
	Body rest.List[Host]
}

type createdHost struct {
	ETag string `header:"ETag"`
	Body NewHost
}

func (s *Server) oneHost(h hosts.Host) *oneHost {
	return &oneHost{rest.ETag(h.Version), s.host(h)}
}

type hostsInput struct {
	Selector []string `query:"selector" maxItems:"32" doc:"k=v: hosts with this label; all of several"`
	Limit    int      `query:"limit" minimum:"1" maximum:"500" default:"100"`
	rest.From
}

func (s *Server) listHosts(ctx context.Context, in *hostsInput) (*hostList, error) {
	filter := hosts.Filter{Selector: map[string]string{}, Cursor: in.Key(), Limit: in.Limit}
	for _, pair := range in.Selector {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, problem.Invalid("query.selector", "is not k=v")
		}
		filter.Selector[key] = value
	}
	found, next, err := s.Hosts.Hosts(ctx, filter)
	if err != nil {
		return nil, s.fault(err)
	}
	view := s.hostView()
	items := make([]Host, len(found))
	for i, h := range found {
		items[i] = view.host(h)
	}
	return &hostList{rest.PageOf(items, next, in.From)}, nil
}

func (s *Server) showHost(ctx context.Context, in *hostInput) (*oneHost, error) {
	h, err := s.Hosts.Host(ctx, in.Name)
	if err != nil {
		return nil, s.fault(err)
	}
	return s.oneHost(h), nil
}

func (s *Server) addHost(ctx context.Context, in *struct{ Body HostSpec }) (*createdHost, error) {
	var (
		h hosts.Host
		i hosts.Invitation
	)
	d := rest.DeedOf(ctx)
	d.Object = "host/" + in.Body.Name
	err := s.Store(func() (err error) {
		h, i, err = s.Hosts.Add(ctx, hosts.HostSpec{
			Name: in.Body.Name, Labels: in.Body.Labels, MaxRunners: in.Body.MaxRunners, Cordoned: in.Body.Cordoned, Isolated: in.Body.Isolated,
			TTL: seconds(float64(in.Body.TTLSeconds)),
		})
		return err
	})
	if err != nil {
		return nil, s.fault(err)
	}
	d.Set("labels", in.Body.Labels)
	d.Set("max_runners", in.Body.MaxRunners)
	d.Set("cordoned", in.Body.Cordoned)
	d.Set("isolated", in.Body.Isolated)
	d.Detail = "enrolment " + i.ID
	return &createdHost{rest.ETag(h.Version), newHostOf(s.host(h), i)}, nil
}

type editHostInput struct {
	Name    string         `path:"name" maxLength:"64" doc:"name or id"`
	IfMatch rest.Condition `header:"If-Match" maxLength:"400" doc:"the ETag of what is edited, as it was read: 412 if it was edited since"`
	Body    HostEdit
}

func (s *Server) editHost(ctx context.Context, in *editHostInput) (*oneHost, error) {
	before, err := s.Hosts.Host(ctx, in.Name)
	if err != nil {
		return nil, s.fault(err)
	}
	version, err := in.IfMatch.Version(ctx, func(context.Context) (int64, error) { return before.Version, nil })
	if err != nil {
		return nil, err
	}
	var h hosts.Host
	err = s.Store(func() (err error) {
		h, err = s.Hosts.Edit(ctx, before.ID, version, hosts.Change{
			Name: in.Body.Name, Labels: in.Body.Labels, MaxRunners: in.Body.MaxRunners, Cordoned: in.Body.Cordoned,
		})
		return err
	})
	if errors.Is(err, hosts.ErrStale) {
		return nil, s.staleHost(ctx, before.ID)
	}
	if err != nil {
		return nil, s.fault(err)
	}
	d := rest.DeedOf(ctx)
	d.Object = "host/" + before.Name
	d.Change("name", before.Name, h.Name)
	if len(before.Labels)+len(h.Labels) > 0 {
		d.Change("labels", before.Labels, h.Labels)
	}
	d.Change("max_runners", before.MaxRunners, h.MaxRunners)
	d.Change("cordoned", before.Cordoned, h.Cordoned)
	return s.oneHost(h), nil
}

func (s *Server) staleHost(ctx context.Context, id string) error {
	h, err := s.Hosts.Host(ctx, id)
	if err != nil {
		return s.fault(err)
	}
	return rest.Stale("host "+h.Name, h.Version)
}

type removeHostInput struct {
	Name    string         `path:"name" maxLength:"64" doc:"name or id"`
	IfMatch rest.Condition `header:"If-Match" maxLength:"400" doc:"the ETag of what is edited, as it was read: 412 if it was edited since"`
	Force   bool           `query:"force" doc:"give up what it may be running: for a host that is gone for good"`
}

func (s *Server) removeHost(ctx context.Context, in *removeHostInput) (*struct{}, error) {
	h, err := s.Hosts.Host(ctx, in.Name)
	if err != nil {
		return nil, s.fault(err)
	}
	version, err := in.IfMatch.Version(ctx, func(context.Context) (int64, error) { return h.Version, nil })
	if err != nil {
		return nil, err
	}
	d := rest.DeedOf(ctx)
	d.Object = "host/" + h.Name
	d.Set("force", in.Force)
	d.Detail = "id " + h.ID
	err = s.Store(func() error { return s.Hosts.Remove(ctx, h.ID, version, in.Force) })
	if errors.Is(err, hosts.ErrStale) {
		return nil, s.staleHost(ctx, h.ID)
	}
	return nil, s.fault(err)
}

type reenrolInput struct {
	Name string       `path:"name" maxLength:"64" doc:"name or id"`
	Body *ReenrolSpec `required:"false"`
}

func (s *Server) reenrolHost(ctx context.Context, in *reenrolInput) (*createdHost, error) {
	spec := orZero(in.Body)
	var (
		h hosts.Host
		i hosts.Invitation
	)
	err := s.Store(func() (err error) {
		h, i, err = s.Hosts.Reenrol(ctx, in.Name, hosts.ReenrolSpec{Isolated: spec.Isolated, TTL: seconds(float64(spec.TTLSeconds))})
		return err
	})
	if err != nil {
		return nil, s.fault(err)
	}
	d := rest.DeedOf(ctx)
	d.Object, d.Detail = "host/"+h.Name, "enrolment "+i.ID
	if spec.Isolated != nil {
		d.Set("isolated", h.Isolated)
	}
	return &createdHost{rest.ETag(h.Version), newHostOf(s.host(h), i)}, nil
}

// orZero is what an optional body says.
func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

type enrolmentList struct {
	Body rest.List[Enrolment]
}

func (s *Server) listEnrolments(ctx context.Context, in *rest.PageInput) (*enrolmentList, error) {
	found, next, err := s.Hosts.Enrolments(ctx, hosts.Page{Cursor: in.Key(), Limit: in.Limit})
	if err != nil {
		return nil, s.fault(err)
	}
	items := make([]Enrolment, len(found))
	for i, e := range found {
		items[i] = Enrolment{
			ID: e.ID, Host: e.HostName, HostID: e.Host, Isolated: e.Isolated, CreatedAt: e.CreatedAt, ExpiresAt: e.ExpiresAt, UsedAt: orNull(e.UsedAt),
		}
	}
	return &enrolmentList{rest.PageOf(items, next, in.From)}, nil
}

func (s *Server) cancelEnrolment(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*struct{}, error) {
	err := s.Store(func() error { return s.Hosts.CancelEnrolment(ctx, in.ID) })
	if errors.Is(err, hosts.ErrNotFound) {
		return nil, problem.New(http.StatusNotFound, "not-found", fmt.Sprintf("there is no enrolment %.64s", in.ID))
	}
	return nil, s.fault(err)
}
