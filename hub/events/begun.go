package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/hub/store"
)

// OutcomeUnknown is the outcome of an entry whose change was begun, and of which the
// hub ended before it could be told whether it was made.
const OutcomeUnknown = "unknown"

// begunPrefix begins the names of the settings that hold what was begun.
const begunPrefix = "audit begun "

// begun is a change that somebody asked for and that is not recorded yet.
type begun struct {
	Life  string // of the process that began it
	At    time.Time
	Entry Entry
}

// Begin notes on disk that a change is about to be made, before it is: so that a hub
// that dies between the change and its entry still has one, which says that the outcome
// is unknown. The Record of an entry with this mark as its Begun takes the note back.
func (l *Log) Begin(ctx context.Context, e Entry) (mark string, err error) {
	e.Changes = nil // none was made yet
	for _, field := range []*string{&e.TokenName, &e.Address, &e.RequestID, &e.Object, &e.Detail} {
		*field = clean(*field, maxObject)
	}
	text, err := json.Marshal(begun{Life: l.life, At: time.Now(), Entry: e})
	if err != nil {
		return "", fmt.Errorf("events: note audit entry: %w", err)
	}
	mark = uuid.NewString()
	err = l.cfg.Guard(func() error {
		return l.store.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES (?, ?)`, begunPrefix+mark, string(text))
			return err
		})
	})
	if err != nil {
		return "", fmt.Errorf("events: note audit entry: %w", err)
	}
	return mark, nil
}

// ended takes back the note of what an entry is of.
func ended(tx *store.Tx, e Entry) error {
	if e.Begun == "" {
		return nil
	}
	_, err := tx.Exec(`DELETE FROM settings WHERE name = ?`, begunPrefix+e.Begun)
	return err
}

// recall makes entries of what earlier lives of the hub began and did not record.
func (l *Log) recall(ctx context.Context) error {
	err := l.write(ctx, func(tx *store.Tx) error {
		notes, err := store.All(tx, scanNote, `SELECT name, value FROM settings WHERE substr(name, 1, ?) = ? ORDER BY name`, len(begunPrefix), begunPrefix)
		if err != nil {
			return err
		}
		for _, n := range notes {
			if n.Life == l.life {
				continue
			}
			e := n.Entry
			e.Outcome, e.Detail = OutcomeUnknown, "the hub ended before this was answered: look whether it was done"
			err := errors.Join(insert(tx, e, n.At), ended(tx, e))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("events: record what was begun: %w", err)
	}
	return nil
}

func scanNote(r store.Row) (n begun, err error) {
	var name, text string
	if err := r.Scan(&name, &text); err != nil {
		return n, err
	}
	err = json.Unmarshal([]byte(text), &n)
	n.Entry.Begun = name[len(begunPrefix):]
	return n, err
}
