package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
)

// writer commits the writes of many goroutines together. While one commit waits
// for the disk the next writes gather; there is no timer.
type writer struct {
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt
	queue   chan *write
	limit   int
	closing chan struct{}
	done    chan struct{}
	once    sync.Once
}

// write is one call of Write on its way. claimed decides who has it: the writer,
// which runs it, or the caller, whose context ended and who takes it back.
type write struct {
	do      func(*Tx) error
	claimed atomic.Bool
	result  chan outcome
}

type outcome struct {
	err   error
	panic any
}

func newWriter(ctx context.Context, db *sql.DB, limit int) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: open the writing connection: %w", err)
	}
	w := &writer{
		conn: conn, stmts: map[string]*sql.Stmt{}, limit: limit,
		queue: make(chan *write, limit), closing: make(chan struct{}), done: make(chan struct{}),
	}
	// The writer outlives the ctx of Open; stop ends it.
	go w.run(context.WithoutCancel(ctx))
	return w, nil
}

func (w *writer) write(ctx context.Context, do func(*Tx) error) error {
	job := &write{do: do, result: make(chan outcome, 1)}
	select {
	case w.queue <- job:
	case <-w.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case out := <-job.result:
		return out.unwrap()
	case <-ctx.Done():
		if job.claimed.CompareAndSwap(false, true) {
			return ctx.Err()
		}
	case <-w.done:
		if job.claimed.CompareAndSwap(false, true) {
			return ErrClosed
		}
	}
	select {
	case out := <-job.result:
		return out.unwrap()
	case <-w.done:
	}
	select {
	case out := <-job.result:
		return out.unwrap()
	default: // the writer's goroutine was ended from within do
		return ErrClosed
	}
}

func (o outcome) unwrap() error {
	if o.panic != nil {
		panic(o.panic)
	}
	return o.err
}

func (w *writer) stop() {
	w.once.Do(func() { close(w.closing) })
	<-w.done
}

func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	defer func() {
		for _, stmt := range w.stmts {
			_ = stmt.Close()
		}
		_ = w.conn.Close()
	}()
	for {
		select {
		case first := <-w.queue:
			w.commit(ctx, w.gather(first))
		case <-w.closing:
			return
		}
	}
}

// gather takes what waits now.
func (w *writer) gather(first *write) []*write {
	batch := []*write{first}
	for len(batch) < w.limit {
		select {
		case next := <-w.queue:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// commit runs a batch in one transaction, each write in a savepoint of its own.
func (w *writer) commit(ctx context.Context, batch []*write) {
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		w.fail(batch, fmt.Errorf("store: begin write: %w", err))
		return
	}
	tx := &Tx{ctx: ctx, db: w.conn, conn: w.conn, stmts: w.stmts}
	outcomes := make([]outcome, len(batch))
	for i, job := range batch {
		if !job.claimed.CompareAndSwap(false, true) {
			continue // taken back by its caller
		}
		var broken error
		if outcomes[i], broken = w.try(ctx, tx, job.do); broken != nil {
			_, _ = w.conn.ExecContext(ctx, "ROLLBACK")
			w.fail(batch, fmt.Errorf("store: savepoint: %w", broken))
			return
		}
	}
	if _, err := w.conn.ExecContext(ctx, "COMMIT"); err != nil {
		_, _ = w.conn.ExecContext(ctx, "ROLLBACK")
		w.fail(batch, fmt.Errorf("store: commit: %w", err))
		return
	}
	for _, do := range tx.after {
		do()
	}
	for i, job := range batch {
		job.result <- outcomes[i]
	}
}

// try runs one write; broken means that the whole transaction is lost.
func (w *writer) try(ctx context.Context, tx *Tx, do func(*Tx) error) (out outcome, broken error) {
	if _, err := tx.Exec("SAVEPOINT one"); err != nil {
		return out, err
	}
	before := len(tx.after)
	func() {
		defer func() { out.panic = recover() }()
		out.err = do(tx)
	}()
	if out.err != nil || out.panic != nil {
		tx.after = tx.after[:before]
		if _, err := tx.Exec("ROLLBACK TO one"); err != nil {
			return out, err
		}
	}
	_, err := tx.Exec("RELEASE one")
	return out, err
}

func (w *writer) fail(batch []*write, err error) {
	for _, job := range batch {
		job.claimed.Store(true)
		job.result <- outcome{err: err}
	}
}
