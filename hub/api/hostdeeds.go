package api

import (
	"context"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/hosts"
)

// hostDeedRoutes are those of what is done to a host as a whole.
func (s *Server) hostDeedRoutes() {
	const notFound, conflict, invalid = http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity
	rest.Register(s.Server, rest.Operator("host"), rest.Operation("cordon-host", http.MethodPost, "hosts/{name}/cordon",
		"Give a host no new runners; what runs there goes on", notFound), s.cordonHost)
	rest.Register(s.Server, rest.Operator("host"), rest.Operation("uncordon-host", http.MethodPost, "hosts/{name}/uncordon",
		"Give a host runners again, and end its drain", notFound), s.uncordonHost)
	rest.Register(s.Server, rest.Operator("host"), rest.Operation("drain-host", http.MethodPost, "hosts/{name}/drain",
		"Cordon a host until nothing runs there; with a deadline what runs then is ended", notFound, invalid), s.drainHost)
	rest.Register(s.Server, rest.Operator("host"), rest.Operation("rotate-host-token", http.MethodPost, "hosts/{name}/rotate-token",
		"Have a host's agent make itself a new token; the old one is good until the new one was used", notFound, conflict), s.rotateHost)
	rest.Register(s.Server, rest.Admin("host"), rest.Operation("revoke-host", http.MethodPost, "hosts/{name}/revoke",
		"End a host's token and enrolments: its agent is refused until it is enrolled anew", notFound), s.revokeHost)
	rest.Register(s.Server, rest.Operator("host"), rest.Answering(http.StatusAccepted, rest.Operation("update-host", http.MethodPost, "hosts/{name}/update",
		"Have a host's agent become another version", notFound, conflict, invalid)), s.updateHost)
	rest.Register(s.Server, rest.Operator("host"), rest.Answering(http.StatusAccepted, rest.Operation("update-hosts", http.MethodPost, "hosts/update",
		"Have the agents of many hosts become another version, one at a time after the canaries", notFound, conflict, invalid)), s.updateHosts)
}

// changeHost does what a route asks for and answers the host as it is then.
func (s *Server) changeHost(ctx context.Context, do func() (hosts.Host, error)) (*oneHost, error) {
	var h hosts.Host
	err := s.Store(func() (err error) {
		h, err = do()
		return err
	})
	if err != nil {
		return nil, s.fault(err)
	}
	rest.DeedOf(ctx).Object = "host/" + h.Name
	return s.oneHost(h), nil
}

// then is the host after a deed that does not return it.
func (s *Server) then(ctx context.Context, name string, err error) (hosts.Host, error) {
	if err != nil {
		return hosts.Host{}, err
	}
	return s.Hosts.Host(ctx, name)
}

func (s *Server) cordonHost(ctx context.Context, in *hostInput) (*oneHost, error) {
	return s.changeHost(ctx, func() (hosts.Host, error) { return s.Hosts.Cordon(ctx, in.Name) })
}

func (s *Server) uncordonHost(ctx context.Context, in *hostInput) (*oneHost, error) {
	return s.changeHost(ctx, func() (hosts.Host, error) { return s.Hosts.Uncordon(ctx, in.Name) })
}

func (s *Server) drainHost(ctx context.Context, in *struct {
	Name string     `path:"name" maxLength:"64" doc:"name or id"`
	Body *DrainSpec `required:"false"`
}) (*oneHost, error) {
	deadline := seconds(orZero(in.Body).DeadlineSeconds)
	rest.DeedOf(ctx).Set("deadline_seconds", deadline.Seconds())
	return s.changeHost(ctx, func() (hosts.Host, error) { return s.Hosts.Drain(ctx, in.Name, deadline) })
}

// agentPatience bounds the wait for an agent to answer.
const agentPatience = 20 * time.Second

func (s *Server) rotateHost(ctx context.Context, in *hostInput) (*oneHost, error) {
	ctx, cancel := context.WithTimeout(ctx, agentPatience)
	defer cancel()
	return s.changeHost(ctx, func() (hosts.Host, error) { return s.then(ctx, in.Name, s.Hosts.RotateToken(ctx, in.Name)) })
}

func (s *Server) revokeHost(ctx context.Context, in *hostInput) (*oneHost, error) {
	return s.changeHost(ctx, func() (hosts.Host, error) { return s.then(ctx, in.Name, s.Hosts.Revoke(ctx, in.Name)) })
}

func (s *Server) updateHost(ctx context.Context, in *struct {
	Name string      `path:"name" maxLength:"64" doc:"name or id"`
	Body *UpdateSpec `required:"false"`
}) (*oneHost, error) {
	spec := orZero(in.Body)
	rest.DeedOf(ctx).Set("version", spec.Version)
	return s.changeHost(ctx, func() (hosts.Host, error) {
		return s.then(ctx, in.Name, s.Hosts.Update(ctx, []string{in.Name}, hosts.UpdateSpec{Version: spec.Version}))
	})
}

func (s *Server) updateHosts(ctx context.Context, in *struct{ Body UpdateHostsSpec }) (*hostList, error) {
	if in.Body.All == (len(in.Body.Hosts) > 0) {
		return nil, problem.Invalid("body.hosts", "is needed, or all, and not both")
	}
	d := rest.DeedOf(ctx)
	d.Set("hosts", in.Body.Hosts)
	d.Set("all", in.Body.All)
	d.Set("version", in.Body.Version)
	d.Set("canary", in.Body.Canary)
	names := in.Body.Hosts
	if in.Body.All {
		names = nil
	}
	err := s.Store(func() error {
		return s.Hosts.Update(ctx, names, hosts.UpdateSpec{Version: in.Body.Version, Canary: in.Body.Canary})
	})
	if err != nil {
		return nil, s.fault(err)
	}
	return s.updating(ctx, names)
}

// updating lists the hosts with these names, or all that are to be updated.
func (s *Server) updating(ctx context.Context, names []string) (*hostList, error) {
	view, items := s.hostView(), []Host{}
	for _, name := range names {
		h, err := s.Hosts.Host(ctx, name)
		if err != nil {
			return nil, s.fault(err)
		}
		items = append(items, view.host(h))
	}
	for cursor := ""; names == nil; {
		page, next, err := s.Hosts.Hosts(ctx, hosts.Filter{Cursor: cursor, Limit: 1000})
		if err != nil {
			return nil, s.fault(err)
		}
		for _, h := range page {
			if h.UpdateTo != "" {
				items = append(items, view.host(h))
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	return &hostList{rest.ListOf(items, "")}, nil
}
