package store

import (
	"context"
	"database/sql"
	"errors"
)

// Tx is one transaction. It is valid until the function that was given it returns.
type Tx struct {
	ctx   context.Context //nolint:containedctx // a Tx is the life of one call
	db    executor
	stmts map[string]*sql.Stmt // of the writer's connection; nil in reads
	conn  *sql.Conn
	after []func()
}

// After runs do when the transaction is on disk: in the order in which all that was
// written came there, before Write returns. So who mirrors the database in memory is
// never behind what a caller of Write was told. do must not block, nor call Write. In
// a read, and in a transaction that is undone, it is never run.
func (t *Tx) After(do func()) { t.after = append(t.after, do) }

type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Exec runs a statement and tells how many rows it changed.
func (t *Tx) Exec(query string, args ...any) (int64, error) {
	var result sql.Result
	stmt, err := t.prepared(query)
	if err != nil {
		return 0, err
	}
	if stmt != nil {
		result, err = stmt.ExecContext(t.ctx, args...)
	} else {
		result, err = t.db.ExecContext(t.ctx, query, args...)
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (t *Tx) query(query string, args []any) (*sql.Rows, error) {
	stmt, err := t.prepared(query)
	if err != nil {
		return nil, err
	}
	if stmt != nil {
		return stmt.QueryContext(t.ctx, args...)
	}
	return t.db.QueryContext(t.ctx, query, args...)
}

// prepared keeps the writer's statements compiled.
func (t *Tx) prepared(query string) (*sql.Stmt, error) {
	if t.stmts == nil {
		return nil, nil
	}
	if stmt := t.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := t.conn.PrepareContext(t.ctx, query)
	if err != nil {
		return nil, err
	}
	t.stmts[query] = stmt
	return stmt, nil
}

// Row is what a scan function reads the columns of one row from.
type Row interface{ Scan(dest ...any) error }

// All returns what scan makes of each row. The rows are read to the end first,
// so scan may not use the transaction and the caller may.
func All[T any](tx *Tx, scan func(Row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.query(query, args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// One returns what scan makes of the first row; found is false when there is none.
func One[T any](tx *Tx, scan func(Row) (T, error), query string, args ...any) (v T, found bool, err error) {
	rows, err := tx.query(query, args)
	if err != nil {
		return v, false, err
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return v, false, rows.Err()
	}
	if v, err = scan(rows); err != nil {
		return v, false, err
	}
	return v, true, errors.Join(rows.Err(), rows.Close())
}

// Value scans a single column.
func Value[T any](r Row) (v T, err error) { return v, r.Scan(&v) }
