package events

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// Entry tells of one change that somebody asked for.
type Entry struct {
	// ID grows with time; At is by the hub's clock. Record sets both.
	ID int64
	At time.Time
	// TokenID, TokenName and Role are whose it was; all empty but Role, which is
	// RoleLocal, for what was done on the hub's own machine.
	TokenID, TokenName, Role string
	// Address is where the request came from; RequestID is its id.
	Address, RequestID string
	// Method and Route are of the request, the route with its {names}.
	Method, Route string
	// Action is what was asked, such as edit-host; Object of what, such as host/builder-01.
	Action, Object string
	// Status is that of the answer; Outcome "done" or the code of the problem.
	Status  int
	Outcome string
	// Detail is for people.
	Detail string
	// Changes are the fields that were changed, those that are no secrets.
	Changes []Change
	// Skipped is how many refused requests of this token before this one were not
	// recorded, since there were too many.
	Skipped int
	// Routine is for what there is very much of: jobs.
	Routine bool
	// Begun is Begin's mark of the change, if there is one. It is not kept.
	Begun string
}

// RoleLocal is the role of what was done on the hub's own machine.
const RoleLocal = "local"

// Change is one field before and after; nil: it was not set.
type Change struct {
	Field  string `json:"field"`
	Before any    `json:"before"`
	After  any    `json:"after"`
}

// maxChanges bounds the changes of one entry, in bytes of JSON.
const maxChanges = 16 << 10

// Record stores an entry of the audit log, and events with it. When it returns
// nil both are on disk. Of one token's refused requests (status 400 and above) at
// most 120 a minute are stored; the next entry tells how many were not.
func (l *Log) Record(ctx context.Context, e Entry, events ...Event) error {
	now := time.Now()
	skipped, skip := l.refused.count(e.TokenID, e.Status, now)
	if skip && len(events) == 0 && e.Begun == "" {
		return nil
	}
	e.Skipped = skipped
	err := l.write(ctx, func(tx *store.Tx) error {
		if err := ended(tx, e); err != nil || skip && len(events) == 0 {
			return err
		}
		if err := insert(tx, e, now); err != nil {
			return err
		}
		return AppendTx(tx, events...)
	})
	if err != nil {
		l.refused.giveBack(e.TokenID, skipped)
		return fmt.Errorf("events: record audit entry: %w", err)
	}
	return nil
}

func insert(tx *store.Tx, e Entry, at time.Time) error {
	changes, err := json.Marshal(append([]Change{}, e.Changes...))
	if err != nil {
		return err
	}
	if len(changes) > maxChanges {
		changes = []byte(`[]`)
		e.Detail = "too many changes to list. " + e.Detail
	}
	_, err = tx.Exec(`INSERT INTO audit (at, token_id, token_name, role, address, request_id, method, route, action, object, status, outcome, detail, changes, skipped, routine)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		at.UnixMilli(), e.TokenID, clean(e.TokenName, maxObject), e.Role, clean(e.Address, maxObject), clean(e.RequestID, maxObject), e.Method, e.Route,
		e.Action, clean(e.Object, maxObject), e.Status, e.Outcome, clean(e.Detail, maxText), clean(string(changes), maxChanges+maxText), e.Skipped, e.Routine)
	return err
}

// AuditFilter says which entries. Zero fields don't filter.
type AuditFilter struct {
	// Object is one object, or what stands before the slash: host for all hosts.
	Object string
	// Action, TokenID and Outcome are as in Entry.
	Action, TokenID, Outcome string
	// Since and Until bound the time.
	Since, Until time.Time
	// Cursor is what the last list returned; empty: from the newest on.
	Cursor string
	// Limit is how many at most; default 50, at most 500.
	Limit int
}

// Entries lists the audit log, the newest first. next is the cursor for what
// follows, empty at the end. A bad cursor is ErrCursor.
func (l *Log) Entries(ctx context.Context, f AuditFilter) (entries []Entry, next string, err error) {
	limit := min(max(f.Limit, 0), 500)
	if limit == 0 {
		limit = 50
	}
	where, args, err := f.where()
	if err != nil {
		return nil, "", err
	}
	err = l.store.Read(ctx, func(tx *store.Tx) error {
		entries, err = store.All(tx, scanEntry, `SELECT seq, at, token_id, token_name, role, address, request_id, method, route, action, object, status,
			outcome, detail, changes, skipped, routine FROM audit WHERE `+where+` ORDER BY seq DESC LIMIT ?`, append(args, limit+1)...)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("events: list audit log: %w", err)
	}
	if len(entries) > limit {
		entries = entries[:limit]
		next = strconv.FormatInt(entries[limit-1].ID, 36)
	}
	return entries, next, nil
}

func (f AuditFilter) where() (string, []any, error) {
	before := int64(1<<63 - 1)
	if f.Cursor != "" {
		var err error
		if before, err = strconv.ParseInt(f.Cursor, 36, 64); err != nil || before <= 0 {
			return "", nil, ErrCursor
		}
	}
	where, args := `seq < ?`, []any{before}
	for _, field := range []struct{ column, value string }{{"action", f.Action}, {"token_id", f.TokenID}, {"outcome", f.Outcome}} {
		if field.value != "" {
			where += ` AND ` + field.column + ` = ?`
			args = append(args, field.value)
		}
	}
	if f.Object != "" {
		where += ` AND (object = ? OR object >= ? || '/' AND object < ? || '0')` // 0 is what comes after the slash
		args = append(args, f.Object, f.Object, f.Object)
	}
	if !f.Since.IsZero() {
		where += ` AND at >= ?`
		args = append(args, f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		where += ` AND at < ?`
		args = append(args, f.Until.UnixMilli())
	}
	return where, args, nil
}

func scanEntry(r store.Row) (e Entry, err error) {
	var (
		at      int64
		changes string
	)
	err = r.Scan(&e.ID, &at, &e.TokenID, &e.TokenName, &e.Role, &e.Address, &e.RequestID, &e.Method, &e.Route, &e.Action, &e.Object, &e.Status,
		&e.Outcome, &e.Detail, &changes, &e.Skipped, &e.Routine)
	if err != nil {
		return e, err
	}
	e.At = time.UnixMilli(at).UTC()
	if err := json.Unmarshal([]byte(changes), &e.Changes); err != nil {
		return e, fmt.Errorf("read changes of entry %d: %w", e.ID, err)
	}
	return e, nil
}

// refusals keeps whoever is refused again and again from filling the disk, and
// from pushing everything else out of the log.
type refusals struct {
	mu     sync.Mutex
	window time.Time
	tokens map[string]*refused
}

type refused struct{ count, skipped int }

// mostRefused is how many refused requests of a token are recorded in a minute.
const mostRefused = 120

func newRefusals() *refusals { return &refusals{tokens: map[string]*refused{}} }

// count says whether to skip an entry, and for one that is to be stored how many
// were skipped before it.
func (r *refusals) count(token string, status int, now time.Time) (skipped int, skip bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.window) >= time.Minute {
		r.window = now
		for id, t := range r.tokens {
			if t.count = 0; t.skipped == 0 {
				delete(r.tokens, id)
			}
		}
	}
	t := r.tokens[token]
	if t == nil {
		t = &refused{}
		r.tokens[token] = t
	}
	if status >= 400 {
		t.count++
		if t.count > mostRefused {
			t.skipped++
			return 0, true
		}
	}
	skipped, t.skipped = t.skipped, 0
	return skipped, false
}

func (r *refusals) giveBack(token string, skipped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tokens[token]; t != nil {
		t.skipped += skipped
	}
}
