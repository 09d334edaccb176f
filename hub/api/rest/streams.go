package rest

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/slipway-ci/slipway/hub/api/problem"
)

// Streams bounds how many answers of one kind go on at once, in all and for one
// token: nobody takes all of them.
type Streams struct {
	what     string // events
	all, own int

	mu   sync.Mutex
	open int
	by   map[string]int // token
}

// NewStreams allows all streams at once, and own of them to one token; what is said
// of them in problems, such as "streams of events".
func NewStreams(what string, all, own int) *Streams {
	return &Streams{what: what, all: all, own: own, by: map[string]int{}}
}

// Open takes a place for the caller of ctx, or says why there is none. The caller
// calls done once.
func (s *Streams) Open(ctx context.Context) (done func(), err error) {
	token := CallerOf(ctx).Token.ID
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.by[token] >= s.own:
		return nil, problem.New(http.StatusTooManyRequests, "too-many-streams",
			fmt.Sprintf("this token has %d %s open, and may have no more: close one, or use a token of its own for each program", s.own, s.what))
	case s.open >= s.all:
		return nil, problem.New(http.StatusServiceUnavailable, "too-many-streams", fmt.Sprintf("too many %s are open: try again later", s.what))
	}
	s.open++
	s.by[token]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		if s.by[token]--; s.by[token] == 0 {
			delete(s.by, token)
		}
	}, nil
}
