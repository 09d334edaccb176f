package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/events"
)

func (s *Server) auditRoutes() {
	rest.Register(s.Server, rest.Admin("audit"), rest.Operation("list-audit", http.MethodGet, "audit", "List who asked for which change, the newest first",
		http.StatusUnprocessableEntity), s.listAudit)
}

type auditInput struct {
	Object  string    `query:"object" maxLength:"300" doc:"such as host/builder-01; or host for all hosts"`
	Action  string    `query:"action" maxLength:"64" doc:"such as edit-host: the operationId of the route"`
	Token   string    `query:"token" maxLength:"64" doc:"the id of a token"`
	Outcome string    `query:"outcome" maxLength:"64" doc:"done, the code of a problem such as forbidden, or unknown: the hub ended before it was recorded"`
	Since   time.Time `query:"since" doc:"from this time on (RFC 3339)"`
	Until   time.Time `query:"until" doc:"before this time (RFC 3339)"`
	Limit   int       `query:"limit" minimum:"1" maximum:"500" default:"50"`
	rest.From
}

// outcomes are what an entry's can be.
var outcomes = append([]string{"done", events.OutcomeUnknown}, problem.Codes...)

type auditList struct {
	Body rest.List[AuditEntry]
}

func (s *Server) listAudit(ctx context.Context, in *auditInput) (*auditList, error) {
	if wrong := cmp.Or(s.knownObject(in.Object), oneOf("action", in.Action, s.Actions()), oneOf("outcome", in.Outcome, outcomes), s.knownToken(ctx, in.Token)); wrong != nil {
		return nil, wrong
	}
	entries, next, err := s.Events.Entries(ctx, events.AuditFilter{
		Object: in.Object, Action: in.Action, TokenID: in.Token, Outcome: in.Outcome, Since: in.Since, Until: in.Until, Limit: in.Limit, Cursor: in.Key(),
	})
	if err != nil {
		return nil, s.fault(err)
	}
	items := make([]AuditEntry, len(entries))
	for i, e := range entries {
		changes := make([]FieldChange, len(e.Changes))
		for i, c := range e.Changes {
			changes[i] = FieldChange(c)
		}
		items[i] = AuditEntry{
			ID: e.ID, At: e.At, TokenID: e.TokenID, TokenName: e.TokenName, Role: e.Role, Address: e.Address, RequestID: e.RequestID,
			Method: e.Method, Route: e.Route, Action: e.Action, Object: e.Object, Status: e.Status, Outcome: e.Outcome, Detail: e.Detail,
			Changes: changes, Skipped: e.Skipped,
		}
	}
	return &auditList{rest.PageOf(items, next, in.From)}, nil
}
