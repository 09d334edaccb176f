package fleetcmd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
	"github.com/slipway-ci/slipway/template/file"
)

func scaleSetsApply() *cobra.Command {
	var path string
	var o client.ApplyOptions
	var yes bool
	c := &cobra.Command{
		Use: "apply -f FILE", Short: "Make the hub's scale sets those of a file", Args: command.Args(0, 0, ""),
		Long: `Make the hub's scale sets those of a file: what is new is created, what differs is
edited, and with --prune what the file does not name is deleted. All of it happens,
or nothing.

First the difference is shown. On a terminal it is asked whether to go on; where
nobody can be asked, --yes is needed. --dry-run ends there, with exit code 0
whether there is a difference or not.`,
		Example: `  slipway scale-sets export > sets.yaml
  slipway scale-sets apply -f sets.yaml --dry-run
  slipway scale-sets apply -f sets.yaml --yes`,
	}
	output := command.AddOutput(c)
	addFile(c, &path)
	f := c.Flags()
	f.BoolVar(&o.DryRun, "dry-run", false, "only show the difference")
	f.BoolVar(&o.Prune, "prune", false, "delete the scale sets that the file does not name")
	f.BoolVarP(&yes, "yes", "y", false, "don't ask")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !yes && !o.DryRun && (path == "-" || !asks(c.InOrStdin())) {
			return command.Usage(c, "nobody can be asked here: give --yes to apply, or --dry-run to see what would change")
		}
		text, err := readFile(c, path)
		if err != nil {
			return err
		}
		// What can be known here has its place in the file that people know.
		_, err = file.ParseScaleSets(nameOf(path), text, file.Options{AllowedBinds: []string{"/"}})
		if err := wrongFile(c, err); err != nil {
			return err
		}
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		return apply(c, h, text, applyOptions{o, path, yes, output})
	}
	return c
}

// unnamed is what the hub calls the file, whose name it does not know.
const unnamed = "scale-sets.yaml"

type applyOptions struct {
	client.ApplyOptions
	path   string
	yes    bool
	output *command.Output
}

// apply shows the difference, asks, and applies. With JSON the answer to the last
// call is all that goes to standard output.
func apply(c *cobra.Command, h *remote.Hub, text []byte, o applyOptions) error {
	try := client.ApplyOptions{DryRun: true, Prune: o.Prune}
	diff, err := h.Apply(c.Context(), text, try)
	if err != nil {
		return refused(c, h, o.path, err)
	}
	w := c.OutOrStdout()
	if o.output.JSON() {
		w = c.ErrOrStderr()
	}
	for _, warning := range diff.Warnings {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), command.Printable(placed(o.path, warning)))
	}
	if !o.output.JSON() || !o.DryRun {
		if _, err := io.WriteString(w, diffText(diff)); err != nil {
			return err
		}
	}
	if o.DryRun || len(diff.Changes) == 0 {
		if o.output.JSON() {
			return command.WriteJSON(c.OutOrStdout(), diff)
		}
		return nil
	}
	if !o.yes && !agreed(c, len(diff.Changes)) {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), "nothing was changed")
		return command.Exit(command.ExitFailed)
	}
	done, err := h.Apply(c.Context(), text, client.ApplyOptions{Prune: o.Prune, Revision: diff.Revision})
	if errors.Is(err, client.ErrStale) {
		return errors.New("somebody else edited scale sets meanwhile, so nothing was changed: apply again")
	}
	if err != nil {
		return refused(c, h, o.path, err)
	}
	if o.output.JSON() {
		return command.WriteJSON(c.OutOrStdout(), done)
	}
	_, err = fmt.Fprintln(w, command.Plural(len(done.Changes), "scale set"), "changed")
	return err
}

// placed is a line of the hub's about the file, with the name that people know.
func placed(path, line string) string {
	if place, ok := strings.CutPrefix(line, unnamed); ok {
		return nameOf(path) + place
	}
	return line
}

// refused tells what the hub finds wrong with the file, a line each beginning with
// its place.
func refused(c *cobra.Command, h *remote.Hub, path string, err error) error {
	var problem *client.Error
	if !errors.Is(err, client.ErrInvalid) || !errors.As(err, &problem) || !strings.HasPrefix(problem.Detail, unnamed) {
		return h.Explain(c, "scale set", "", err)
	}
	for line := range strings.Lines(problem.Detail) {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), command.Printable(placed(path, strings.TrimSuffix(line, "\n"))))
	}
	return command.Exit(command.ExitUsage)
}

// asks says whether somebody sits there.
func asks(in io.Reader) bool {
	switch in := in.(type) {
	case interface{ Terminal() bool }:
		return in.Terminal()
	case *os.File:
		return term.IsTerminal(int(in.Fd()))
	}
	return false
}

// agreed asks whether to go on.
func agreed(c *cobra.Command, changes int) bool {
	_, _ = fmt.Fprintf(c.ErrOrStderr(), "Change %s? [y/N] ", command.Plural(changes, "scale set"))
	answer, _ := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// marks are the signs of what is done to a scale set.
var marks = map[string]string{"create": "+", "edit": "~", "delete": "-"}

// diffText is a difference for people, a line a field.
func diffText(d client.Diff) string {
	if len(d.Changes) == 0 {
		return "nothing to change\n"
	}
	var b strings.Builder
	for _, change := range d.Changes {
		mark, ok := marks[change.Action]
		if !ok {
			mark = "?"
		}
		_, _ = fmt.Fprintf(&b, "%s %s (%s)\n", mark, command.Printable(change.ScaleSet), command.Printable(change.Action))
		if change.Action == "delete" {
			continue
		}
		for _, f := range change.Fields {
			before, after := command.Printable(command.Value(f.Before)), command.Printable(command.Value(f.After))
			name := command.Printable(f.Field)
			switch {
			case f.Before == nil:
				_, _ = fmt.Fprintf(&b, "    + %s: %s\n", name, after)
			case f.After == nil:
				_, _ = fmt.Fprintf(&b, "    - %s: %s\n", name, before)
			default:
				_, _ = fmt.Fprintf(&b, "    ~ %s: %s -> %s\n", name, before, after)
			}
		}
	}
	return b.String()
}
