package events

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// Page is a part of the log.
type Page struct {
	// Events, the oldest first.
	Events []Event
	// Position is how far was looked: where to go on, whatever the filter left out.
	Position int64
	// More says that there are more events after Position.
	More bool
}

// After returns up to limit events after the one with the id after. Where some of
// those are not kept any more, or the log never came so far (the hub was restored
// from a backup), the first event is of kind KindMissing.
func (l *Log) After(ctx context.Context, after int64, filter Filter, limit int) (page Page, err error) {
	limit = max(limit, 1)
	err = l.store.Read(ctx, func(tx *store.Tx) error {
		end, err := last(tx)
		if err != nil {
			return err
		}
		missing, err := missingAfter(tx, after, end)
		if err != nil {
			return err
		}
		if missing != nil {
			page.Events, after = append(page.Events, *missing), missing.ID
		}
		found, err := both(tx, filter, `seq > ?`, `ORDER BY seq`, after, limit+1)
		if err != nil {
			return err
		}
		page.Position = max(end, after)
		if len(found) > limit {
			found, page.More = found[:limit], true
			page.Position = found[limit-1].ID
		}
		page.Events = append(page.Events, found...)
		return nil
	})
	if err != nil {
		return Page{}, fmt.Errorf("events: list: %w", err)
	}
	return page, nil
}

// Newest returns the newest events, up to limit of them.
func (l *Log) Newest(ctx context.Context, filter Filter, limit int) (page Page, err error) {
	limit = max(limit, 1)
	err = l.store.Read(ctx, func(tx *store.Tx) error {
		if page.Position, err = last(tx); err != nil {
			return err
		}
		found, err := both(tx, filter, `seq <= ?`, `ORDER BY seq DESC`, page.Position, limit)
		page.Events = found[max(0, len(found)-limit):]
		return err
	})
	if err != nil {
		return Page{}, fmt.Errorf("events: list: %w", err)
	}
	return page, nil
}

// Last is the id of the newest event.
func (l *Log) Last(ctx context.Context) (id int64, err error) {
	err = l.store.Read(ctx, func(tx *store.Tx) error {
		id, err = last(tx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("events: read last: %w", err)
	}
	return id, nil
}

func last(tx *store.Tx) (int64, error) {
	id, _, err := store.One(tx, store.Value[int64], `SELECT max(seq, (SELECT coalesce(max(seq), 0) FROM events)) FROM sqlite_sequence WHERE name = 'job_events'`)
	return id, err
}

// missingAfter tells a reader who is at after what it can't be given.
func missingAfter(tx *store.Tx, after, end int64) (*Event, error) {
	if after > end {
		return &Event{ID: end, At: time.Now().UTC(), Kind: KindMissing, Object: "hub", Text: "the hub's log is older than that: it was restored, or is another's"}, nil
	}
	pruned, _, err := store.One(tx, store.Value[int64], `SELECT CAST(value AS INTEGER) FROM settings WHERE name = ?`, settingPruned)
	if err != nil || after >= pruned || after == 0 {
		return nil, err // whoever begins at the beginning misses nothing
	}
	return &Event{ID: pruned, At: time.Now().UTC(), Kind: KindMissing, Object: "hub", Text: "older events are not kept any more"}, nil
}

// jobPrefix begins the kinds of the events of jobs: job-queued, job-running, …
const jobPrefix = "job-"

const ownSource = `SELECT seq, at, kind, object, text FROM events`

const jobSource = `SELECT seq, at, 'job-' || state AS kind, 'job/' || job_id AS object, ltrim(
	iif(attempt > 0, 'attempt ' || attempt, '') || iif(runner <> '', ' on runner ' || runner, '') || iif(reason <> '', ': ' || reason, ''), ' :') AS text
	FROM job_events`

// both reads the two tables, up to limit of each, and returns the events in their
// one order.
func both(tx *store.Tx, filter Filter, where, order string, seq int64, limit int) ([]Event, error) {
	if len(filter.Kinds) > 0 {
		where += ` AND EXISTS (SELECT 1 FROM json_each(?) k WHERE kind = k.value OR substr(kind, 1, length(k.value) + 1) = k.value || '-')`
	}
	args := []any{seq}
	if len(filter.Kinds) > 0 {
		kinds, err := json.Marshal(filter.Kinds)
		if err != nil {
			return nil, err
		}
		args = append(args, string(kinds))
	}
	if filter.Object != "" {
		where += ` AND (object = ? OR substr(object, 1, length(?) + 1) = ? || '/')`
		args = append(args, filter.Object, filter.Object, filter.Object)
	}
	args = append(args, limit)
	query := func(source string) string {
		return `SELECT * FROM (` + source + `) WHERE ` + where + ` ` + order + ` LIMIT ?`
	}
	all, err := store.All(tx, scanEvent, query(ownSource), args...)
	if err != nil {
		return nil, err
	}
	if source, args := filter.jobs(args); source != "" {
		jobs, err := store.All(tx, scanEvent, query(source), args...)
		if err != nil {
			return nil, err
		}
		all = append(all, jobs...)
	}
	slices.SortFunc(all, func(a, b Event) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// jobs is where the filter finds events of jobs; empty: nowhere. The events of
// one job are found by an index.
func (f Filter) jobs(args []any) (string, []any) {
	if len(f.Kinds) > 0 && !slices.ContainsFunc(f.Kinds, func(k string) bool { return k == "job" || strings.HasPrefix(k, jobPrefix) }) {
		return "", nil
	}
	id, one := strings.CutPrefix(f.Object, "job/")
	switch {
	case one:
		return jobSource + ` WHERE job_id = ?`, slices.Insert(slices.Clone(args), 0, any(id))
	case f.Object == "", f.Object == "job":
		return jobSource, args
	}
	return "", nil
}

func scanEvent(r store.Row) (e Event, err error) {
	var at int64
	err = r.Scan(&e.ID, &at, &e.Kind, &e.Object, &e.Text)
	e.At = time.UnixMilli(at).UTC()
	return e, err
}
