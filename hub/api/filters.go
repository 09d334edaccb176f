package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/scalesets"
)

// A filter that nothing can ever fit is a mistake of whoever asks: an empty list
// would say that all is well. Objects that are gone are no mistake in a log.

// hostOnly is the id of the host that a list is filtered by; empty: by none.
func (s *Server) hostOnly(ctx context.Context, name string) (id string, err error) {
	if name == "" || s.Hosts == nil {
		return name, nil
	}
	h, err := s.Hosts.Host(ctx, name)
	if errors.Is(err, hosts.ErrNotFound) {
		return "", problem.Invalid("query.host", fmt.Sprintf("is %q: there is no such host", name))
	}
	return h.ID, s.fault(err)
}

// knownScaleSet refuses a name that neither a scale set has nor any runner: those of
// a deleted one outlive it.
func (s *Server) knownScaleSet(ctx context.Context, name string) error {
	if name == "" || s.ScaleSets == nil {
		return nil
	}
	_, err := s.ScaleSets.Get(ctx, name)
	if !errors.Is(err, scalesets.ErrNotFound) {
		return s.fault(err)
	}
	counts, err := s.Fleet.CountByTemplate(ctx)
	if _, known := counts[name]; err != nil || known {
		return s.fault(err)
	}
	return problem.Invalid("query.scale_set", fmt.Sprintf("is %q: there is no such scale set, and no runner of one that was deleted", name))
}

// knownObject refuses what does not begin as any object does: host, host/builder-01.
func (s *Server) knownObject(object string) error {
	noun, _, _ := strings.Cut(object, "/")
	return oneOf("object", noun, s.Nouns())
}

// knownKinds refuses kinds of events that begin with no noun.
func (s *Server) knownKinds(kinds []string) error {
	nouns := append(s.Nouns(), "events")
	for _, kind := range kinds {
		known := slices.ContainsFunc(nouns, func(noun string) bool { return kind == noun || strings.HasPrefix(kind, noun+"-") })
		if !known && kind != "" {
			return problem.Invalid("query.kind", fmt.Sprintf("is %q: it begins with one of %s", kind, strings.Join(nouns, ", ")))
		}
	}
	return nil
}

// knownToken refuses the id of a token that there never was: they are never deleted.
func (s *Server) knownToken(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	_, err := s.Queue.Token(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		return problem.Invalid("query.token", fmt.Sprintf("is %q: no token has this id", id))
	}
	return s.fault(err)
}

// oneOf refuses a value that none of known is; an empty one filters by nothing.
func oneOf(name, value string, known []string) error {
	if value == "" || slices.Contains(known, value) {
		return nil
	}
	return problem.Invalid("query."+name, fmt.Sprintf("is %q: %s is allowed", value, strings.Join(known, ", ")))
}
