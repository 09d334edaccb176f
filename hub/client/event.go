package client

import "time"

// Event is something that happened on the hub. Its id grows by time: it is where
// a list or a stream goes on.
type Event struct {
	ID     int64     `json:"id"`
	At     time.Time `json:"at"`
	Kind   string    `json:"kind" doc:"what happened, such as host-online"`
	Object string    `json:"object" doc:"to what, such as host/builder-01"`
	Text   string    `json:"text" doc:"for people"`
}

// KindEventsMissing is the kind of an event that tells a reader that what comes
// after the last one that it saw is not kept any more, or never was: its picture of
// the hub is out of date. Its id is where the log goes on.
const KindEventsMissing = "events-missing"

// EventFilter says which events. Zero fields don't filter.
type EventFilter struct {
	// Kinds: any of these; host is for host-online and all others that begin so.
	Kinds []string
	// Object is one object, such as host/builder-01, or host for all hosts.
	Object string
	// After: those with a greater id, the oldest first. 0: of a list the newest
	// Limit ones, the oldest of them first; of a stream all that is kept.
	After int64
	// Limit is how many of a list at most; 0: the hub's default.
	Limit int
}

// AuditEntry tells of one change that somebody asked for.
type AuditEntry struct {
	ID        int64     `json:"id"`
	At        time.Time `json:"at"`
	TokenID   string    `json:"token_id" doc:"whose it was: the id of the token"`
	TokenName string    `json:"token_name"`
	Role      string    `json:"role"`
	Address   string    `json:"address" doc:"where the request came from"`
	RequestID string    `json:"request_id"`
	Method    string    `json:"method"`
	Route     string    `json:"route" doc:"the path, with its {names}"`
	Action    string    `json:"action" doc:"what was asked, such as edit-host"`
	Object    string    `json:"object" doc:"of what, such as host/builder-01"`
	Status    int       `json:"status" doc:"of the answer"`
	Outcome   string    `json:"outcome" doc:"done, or the code of the problem"`
	Detail    string    `json:"detail"`
	// Changes are those of the fields that are no secrets.
	Changes []FieldChange `json:"changes" nullable:"false" doc:"fields that were changed, those that are no secrets"`
	Skipped int           `json:"skipped" doc:"refused requests of this token before this one that were not recorded, since there were too many"`
}

// AuditFilter says which entries. Zero fields don't filter.
type AuditFilter struct {
	// Object is one object, or host for all hosts. Action, TokenID and Outcome are as
	// in AuditEntry.
	Object, Action, TokenID, Outcome string
	// Since and Until bound the time.
	Since, Until time.Time
	// Limit is how many at most; 0: the hub's default. Cursor is Audit's next of
	// before; without one the newest entry comes first.
	Limit  int
	Cursor string
}
