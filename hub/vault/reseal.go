package vault

import (
	"bytes"
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/hub/store"
)

// batch is how many values one transaction seals anew.
const batch = 200

// Resealed tells what a Reseal did.
type Resealed struct {
	// Values is how many were sealed anew.
	Values int
	// Failed is how many could not be opened, being damaged; they are left as they
	// are, and so is the need for their keys.
	Failed int
	// Retired are the ids of the keys that nothing is sealed with any more: they
	// need not be given from now on.
	Retired []string
}

// Reseal seals with the current key all that previous keys sealed, in batches,
// while the hub works. It costs next to nothing when there is nothing to do. When it
// ends early the next call goes on.
func (v *Vault) Reseal(ctx context.Context) (done Resealed, err error) {
	ids, err := v.needed(ctx)
	if err != nil || len(ids) == 1 && ids[0] == v.current.id {
		return done, err
	}
	for _, c := range columns {
		if err := v.resealColumn(ctx, c, &done); err != nil {
			return done, fmt.Errorf("vault: seal %s.%s anew: %w", c.table, c.value, err)
		}
	}
	if done.Retired, err = v.retire(ctx); err != nil {
		return done, fmt.Errorf("vault: retire previous keys: %w", err)
	}
	for _, id := range done.Retired {
		v.log.Info("master key is no longer needed", "key_id", id, "current", v.current.id)
	}
	return done, nil
}

// row is a sealed value of a column.
type row struct {
	key    string
	sealed []byte
}

func (v *Vault) resealColumn(ctx context.Context, c Column, done *Resealed) error {
	after := ""
	for {
		rows, err := v.page(ctx, c, after)
		if err != nil || len(rows) == 0 {
			return err
		}
		after = rows[len(rows)-1].key
		fresh := v.sealAnew(c, rows)
		done.Failed += len(rows) - len(fresh)
		n, err := v.replace(ctx, c, fresh)
		done.Values += n
		if err != nil {
			return err
		}
	}
}

// page is some values that a previous key sealed, by key. The names in the
// queries are the columns' own.
func (v *Vault) page(ctx context.Context, c Column, after string) (rows []row, err error) {
	err = v.store.Read(ctx, func(tx *store.Tx) error {
		rows, err = store.All(tx, func(r store.Row) (o row, err error) { return o, r.Scan(&o.key, &o.sealed) },
			fmt.Sprintf(`SELECT %[1]s, %[2]s FROM %[3]s WHERE %[1]s > ? AND %[2]s IS NOT NULL AND substr(%[2]s, 1, %[4]d) <> ? ORDER BY %[1]s LIMIT %[5]d`,
				c.key, c.value, c.table, headerSize, batch),
			after, v.header())
		return err
	})
	return rows, err
}

// fresh is a row's value before and after.
type fresh struct {
	row
	anew []byte
}

// sealAnew leaves out what can't be opened.
func (v *Vault) sealAnew(c Column, rows []row) (out []fresh) {
	for _, r := range rows {
		text, err := v.Open(c.Place(r.key), r.sealed)
		if err != nil {
			v.log.Error("sealed value can't be opened: it stays as it is", "column", c.table+"."+c.value, "row", r.key, "err", err)
			continue
		}
		out = append(out, fresh{row: r, anew: v.Seal(c.Place(r.key), text)})
		clear(text)
	}
	return out
}

// replace writes rows anew; what was changed or deleted meanwhile is left.
func (v *Vault) replace(ctx context.Context, c Column, rows []fresh) (done int, err error) {
	query := fmt.Sprintf(`UPDATE %[1]s SET %[2]s = ? WHERE %[3]s = ? AND %[2]s = ?`, c.table, c.value, c.key)
	err = v.store.Write(ctx, func(tx *store.Tx) error {
		done = 0
		for _, r := range rows {
			n, err := tx.Exec(query, r.anew, r.key, r.sealed)
			if err != nil {
				return err
			}
			done += int(n)
		}
		return nil
	})
	return done, err
}

// retire strikes the keys that nothing is sealed with. The current one stays: it
// is in use from the start.
func (v *Vault) retire(ctx context.Context) (retired []string, err error) {
	err = v.store.Write(ctx, func(tx *store.Tx) error {
		inUse := [][]byte{v.current.raw[:]}
		for _, c := range columns {
			ids, err := store.All(tx, store.Value[[]byte],
				fmt.Sprintf(`SELECT DISTINCT substr(%[1]s, 2, %[2]d) FROM %[3]s WHERE %[1]s IS NOT NULL AND substr(%[1]s, 1, %[4]d) <> ?`, c.value, idSize, c.table, headerSize), v.header())
			if err != nil {
				return err
			}
			inUse = append(inUse, ids...)
		}
		ids, err := store.All(tx, store.Value[string], `SELECT id FROM vault_keys ORDER BY id`)
		if err != nil {
			return err
		}
		retired = nil
		for _, id := range ids {
			if holds(inUse, id) {
				continue
			}
			if _, err := tx.Exec(`DELETE FROM vault_keys WHERE id = ?`, id); err != nil {
				return err
			}
			retired = append(retired, id)
		}
		return nil
	})
	return retired, err
}

// holds says whether one of the raw ids is id in hex.
func holds(raw [][]byte, id string) bool {
	for _, r := range raw {
		if bytes.Equal(fmt.Appendf(nil, "%x", r), []byte(id)) {
			return true
		}
	}
	return false
}
