package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/events"
)

func (s *Server) eventRoutes() {
	op := rest.Operation("list-events", http.MethodGet, "events", "List events, the oldest first", http.StatusUnprocessableEntity)
	op.Description = "With after those that came after that id; without it the newest. An event of kind " + events.KindMissing +
		" tells that what came before it is not kept: whoever has a picture of the hub makes it anew."
	rest.Register(s.Server, rest.Viewer("event"), op, s.listEvents)
	s.streamRoute()
}

type eventsInput struct {
	Kind   []string `query:"kind" maxItems:"20" doc:"any of these; host is for host-online and all others that begin so"`
	Object string   `query:"object" maxLength:"300" doc:"such as host/builder-01; or host for all hosts"`
	After  string   `query:"after" pattern:"^[0-9]{0,18}$" doc:"the id of an event: those after it; 0: from the first on; left out: the newest"`
	Limit  int      `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type eventPage struct {
	Body rest.List[Event]
}

// listEvents answers with a next wherever more may come: it goes into after.
func (s *Server) listEvents(ctx context.Context, in *eventsInput) (*eventPage, error) {
	if err := s.knownFilter(in.Kind, in.Object); err != nil {
		return nil, err
	}
	var (
		page events.Page
		err  error
	)
	if in.After == "" {
		page, err = s.Events.Newest(ctx, events.Filter{Kinds: in.Kind, Object: in.Object}, in.Limit)
	} else {
		after, _ := strconv.ParseInt(in.After, 10, 64) // the pattern says that it is one
		page, err = s.Events.After(ctx, after, events.Filter{Kinds: in.Kind, Object: in.Object}, in.Limit)
	}
	if err != nil {
		return nil, s.fault(err)
	}
	items := make([]Event, len(page.Events))
	for i, e := range page.Events {
		items[i] = eventOf(e)
	}
	next := ""
	if page.More {
		next = strconv.FormatInt(page.Position, 10)
	}
	return &eventPage{rest.ListOf(items, next)}, nil
}

// knownFilter refuses kinds and objects that no event can have.
func (s *Server) knownFilter(kinds []string, object string) error {
	if err := s.knownKinds(kinds); err != nil {
		return err
	}
	return s.knownObject(object)
}

func eventOf(e events.Event) Event {
	return Event{ID: e.ID, At: e.At, Kind: e.Kind, Object: e.Object, Text: e.Text}
}
