package api

import (
	"context"
	"net/http"

	"github.com/slipway-ci/slipway/hub/api/rest"
)

func (s *Server) hubRoutes() {
	rest.Register(s.Server, rest.Viewer("hub"), rest.Operation("show-hub", http.MethodGet, "hub", "Tell of the hub: its version, its URLs, its disk, and where its jobs come from"), s.showHub)
}

type hubAnswer struct {
	Body HubInfo
}

func (s *Server) showHub(context.Context, *struct{}) (*hubAnswer, error) {
	return &hubAnswer{s.Info()}, nil
}
