package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"
)

// Output is the flag -o: table for people, json for programs, and for some
// commands yaml.
type Output struct {
	format  string
	formats []string
}

// AddOutput adds the flag to c. more are formats beside table and json.
func AddOutput(c *cobra.Command, more ...string) *Output {
	o := &Output{format: "table", formats: append([]string{"table", "json"}, more...)}
	c.Flags().VarP(o, "output", "o", Choice(o.formats...))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(o.formats, cobra.ShellCompDirectiveNoFileComp))
	return o
}

// String is the format.
func (o *Output) String() string { return o.format }

// Type is what the help shows as the value.
func (o *Output) Type() string { return "format" }

// Set takes one of the formats.
func (o *Output) Set(text string) error {
	if !slices.Contains(o.formats, text) {
		return fmt.Errorf("%q: %s is allowed", text, Choice(o.formats...))
	}
	o.format = text
	return nil
}

// JSON says whether JSON is wanted.
func (o *Output) JSON() bool { return o.format == "json" }

// YAML says whether YAML is wanted.
func (o *Output) YAML() bool { return o.format == "yaml" }

// Write writes v as JSON or YAML, or calls table.
func (o *Output) Write(w io.Writer, v any, table func(io.Writer) error) error {
	switch o.format {
	case "json":
		return WriteJSON(w, v)
	case "yaml":
		return WriteYAML(w, v)
	}
	return table(w)
}

// WriteJSON writes v indented, with a newline. What controls a terminal, or turns the
// direction of text, is escaped.
func WriteJSON(w io.Writer, v any) error { return writeJSON(w, v, "  ") }

// WriteJSONLine is WriteJSON on one line.
func WriteJSONLine(w io.Writer, v any) error { return writeJSON(w, v, "") }

func writeJSON(w io.Writer, v any, indent string) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", indent)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	var safe bytes.Buffer
	for _, r := range text.String() {
		if r != '\n' && controls(r) { // beside line ends they are in strings alone
			fmt.Fprintf(&safe, `\u%04x`, r)
			continue
		}
		safe.WriteRune(r)
	}
	_, err := w.Write(safe.Bytes())
	return err
}

// controls says whether r controls a terminal, or turns the direction of text.
func controls(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// WriteYAML writes v as its JSON says, in the style that people write.
func WriteYAML(w io.Writer, v any) error {
	var text bytes.Buffer
	if err := WriteJSON(&text, v); err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text.Bytes(), &doc); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	plain(&doc)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return err
	}
	return enc.Close()
}

// plain takes JSON's braces and quotes away; what needs quotes gets them again.
func plain(n *yaml.Node) {
	n.Style = 0
	if n.Value == "<<" { // as a key it would merge, and the encoder forgets that
		n.Style = yaml.DoubleQuotedStyle
	}
	short := n.Kind == yaml.SequenceNode || n.Kind == yaml.MappingNode && len(n.Content) == 0
	for _, child := range n.Content {
		plain(child)
		short = short && child.Kind == yaml.ScalarNode && len(child.Value) < 40
	}
	if short && len(n.Content) <= 10 {
		n.Style = yaml.FlowStyle
	}
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

// PrintableLines is Printable of each line of a text.
func PrintableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return strings.Join(lines, "\n")
}

// Printable is text on one line, without characters that control a terminal or turn
// the direction of what follows.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r', r == '\u2028', r == '\u2029':
			return ' '
		case controls(r):
			return -1
		}
		return r
	}, text)
}
