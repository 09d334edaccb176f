package api

import (
	"context"
	"net/http"
)

func (s *Server) hubRoutes() {
	register(s, viewer("hub"), operation("show-hub", http.MethodGet, "hub", "Tell of the hub: its version, its URLs, its disk, and where its jobs come from"), s.showHub)
}

type hubAnswer struct {
	Body HubInfo
}

func (s *Server) showHub(context.Context, *struct{}) (*hubAnswer, error) {
	return &hubAnswer{s.Info()}, nil
}
