package apitest

import (
	"net/http"

	"github.com/slipway-ci/slipway/hub/api"
)

// Of are the routes of the hub's own API, those of HEAD included.
func Of(server *api.Server) (routes []Route) {
	for _, r := range server.Routes() {
		route := Route{Method: r.Method, Pattern: r.Path, Judge: Role(r.Role)}
		routes = append(routes, route)
		if r.Method == http.MethodGet {
			route.Method = http.MethodHead
			routes = append(routes, route)
		}
	}
	return routes
}
