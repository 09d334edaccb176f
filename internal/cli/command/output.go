package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// Output is the flag -o: table for people, json for programs.
type Output struct{ format string }

// AddOutput adds the flag to c.
func AddOutput(c *cobra.Command) *Output {
	o := &Output{}
	c.Flags().VarP(o, "output", "o", "table or json")
	_ = o.Set("table")
	return o
}

// String is the format.
func (o *Output) String() string { return o.format }

// Type is what the help shows as the value.
func (o *Output) Type() string { return "format" }

// Set takes table or json.
func (o *Output) Set(text string) error {
	if text != "table" && text != "json" {
		return fmt.Errorf("%q: table or json is allowed", text)
	}
	o.format = text
	return nil
}

// JSON says whether JSON is wanted.
func (o *Output) JSON() bool { return o.format == "json" }

// WriteJSON writes v indented, with a newline.
func WriteJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Table writes rows below a head, in columns. Cells are freed of line breaks and
// control characters: they may come from elsewhere.
func Table(w io.Writer, head []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = Printable(cell)
			if cells[i] == "" {
				cells[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(tw, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// Printable is text on one line, without control characters.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0:
			return -1
		}
		return r
	}, text)
}
