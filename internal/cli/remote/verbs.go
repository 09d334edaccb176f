package remote

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/cli/command"
)

// Column is one of a table: its head, and what it shows of an item.
type Column[T any] struct {
	Head string
	Cell func(T) string
}

// List is a list of the hub's, as commands print it.
type List[T any] struct {
	// Kind is what errors call an item, or the one that Name names, which it is about.
	Kind, Name string
	// Read reads a page, or all of it; next is empty at the end.
	Read func(ctx context.Context, h *Hub) (items []T, next string, err error)
	// Columns are those of the table.
	Columns []Column[T]
	// None is told on standard error where there are no items; empty: nothing is.
	None string
	// More tells how the list goes on; nil: with --cursor.
	More func(next string) string
}

// Print reads the list and prints it.
func (l List[T]) Print(c *cobra.Command, output *command.Output) error {
	h, err := Connect(c)
	if err != nil {
		return err
	}
	items, next, err := l.Read(c.Context(), h)
	if err != nil {
		return h.Explain(c, l.Kind, l.Name, err)
	}
	if len(items) == 0 && l.None != "" {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), l.None)
	}
	return output.Write(c.OutOrStdout(), PageOf(items, next), func(w io.Writer) error {
		if err := l.table(w, items); err != nil || next == "" {
			return err
		}
		more := "--cursor " + next
		if l.More != nil {
			more = l.More(next)
		}
		_, _ = fmt.Fprintln(c.ErrOrStderr(), "there are more:", command.Printable(more))
		return nil
	})
}

func (l List[T]) table(w io.Writer, items []T) error {
	head, rows := make([]string, len(l.Columns)), make([][]string, len(items))
	for i, column := range l.Columns {
		head[i] = column.Head
	}
	for i, item := range items {
		rows[i] = make([]string, len(l.Columns))
		for j, column := range l.Columns {
			rows[i][j] = column.Cell(item)
		}
	}
	return command.Table(w, head, command.Fit(w, head, rows))
}

// Show reads one object and prints it. kind and name are what errors call it.
func Show[T any](c *cobra.Command, output *command.Output, kind, name string, read func(context.Context, *Hub) (T, error), table func(io.Writer, T) error) error {
	h, err := Connect(c)
	if err != nil {
		return err
	}
	v, err := read(c.Context(), h)
	if err != nil {
		return h.Explain(c, kind, name, err)
	}
	return output.Write(c.OutOrStdout(), v, func(w io.Writer) error { return table(w, v) })
}

// Deeds is what a command does to each object that it names.
type Deeds[T any] struct {
	// Kind is what errors call an object.
	Kind string
	// Do does it, and returns what JSON shows of it.
	Do func(ctx context.Context, h *Hub, name string) (T, error)
	// Say is the line that tells of it.
	Say func(name string, done T) string
}

// Run does the deed to each, in order, until one fails. A nil output is one for
// people.
func (d Deeds[T]) Run(c *cobra.Command, output *command.Output, names []string) error {
	h, err := Connect(c)
	if err != nil {
		return err
	}
	all, asJSON := []T{}, output != nil && output.JSON()
	for _, name := range names {
		done, err := d.Do(c.Context(), h, name)
		if err != nil {
			return h.Explain(c, d.Kind, name, err)
		}
		all = append(all, done)
		if asJSON {
			continue
		}
		if _, err := fmt.Fprintln(c.OutOrStdout(), command.Printable(d.Say(name, done))); err != nil {
			return err
		}
	}
	if asJSON {
		return command.WriteJSON(c.OutOrStdout(), PageOf(all, ""))
	}
	return nil
}

// Removal is a deed that returns nothing, such as a deletion: "NAME deleted".
func Removal(kind, did string, do func(ctx context.Context, h *Hub, name string) error) Deeds[struct{}] {
	return Deeds[struct{}]{
		Kind: kind,
		Do:   func(ctx context.Context, h *Hub, name string) (struct{}, error) { return struct{}{}, do(ctx, h, name) },
		Say:  func(name string, _ struct{}) string { return name + " " + did },
	}
}
