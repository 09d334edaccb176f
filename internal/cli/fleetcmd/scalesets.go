package fleetcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
	"github.com/slipway-ci/slipway/template/file"
)

const scaleSetName = "the scale set's name"

// ScaleSets is slipway scale-sets.
func ScaleSets() *cobra.Command {
	return command.Group("scale-sets", "Say which runners there are to be, how many, and on which hosts",
		scaleSetsList(), scaleSetsShow(), scaleSetsCreate(), scaleSetsEdit(), scaleSetsDelete(), scaleSetsApply(), scaleSetsExport(), scaleSetsWhy(), scaleSetsSchema())
}

func scaleSetsList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the scale sets", Args: command.Args(0, 0, "")}
	output := command.AddOutput(c, "yaml")
	c.RunE = func(c *cobra.Command, _ []string) error { return scaleSetList.Print(c, output) }
	return c
}

var scaleSetList = remote.List[client.ScaleSet]{
	Kind: "scale set", None: "there are no scale sets: slipway scale-sets apply -f FILE makes some",
	Read: func(ctx context.Context, h *remote.Hub) ([]client.ScaleSet, string, error) {
		return remote.All(func(cursor string) ([]client.ScaleSet, string, error) {
			return h.ScaleSets(ctx, client.ScaleSetFilter{Cursor: cursor})
		})
	},
	Columns: []remote.Column[client.ScaleSet]{
		{Head: "NAME", Cell: func(s client.ScaleSet) string { return s.Name }},
		{Head: "STATUS", Cell: condition},
		{Head: "LABELS", Cell: func(s client.ScaleSet) string { return strings.Join(s.Labels, ",") }},
		{Head: "IMAGE", Cell: func(s client.ScaleSet) string { return s.Image }},
		{Head: "CPU", Cell: func(s client.ScaleSet) string { return command.Number(s.CPU) }},
		{Head: "MEMORY", Cell: func(s client.ScaleSet) string { return size(s.Memory) }},
		{Head: "RUNNERS", Cell: func(s client.ScaleSet) string { return fmt.Sprintf("%d/%d", s.Runners, s.Max) }},
		{Head: "IDLE", Cell: func(s client.ScaleSet) string { return strconv.Itoa(s.MinIdle) }},
		{Head: "HOSTS", Cell: func(s client.ScaleSet) string { return target(s.ScaleSetSpec) }},
		{Head: "RUNTIME", Cell: func(s client.ScaleSet) string { return cmp.Or(s.Runtime, client.RuntimeShared) }},
		{Head: "AGE", Cell: func(s client.ScaleSet) string { return command.Age(s.UpdatedAt) }},
	},
}

// condition is how a scale set does; a dash where the hub tells nothing of it.
func condition(s client.ScaleSet) string {
	if s.Status == nil {
		return "-"
	}
	return s.Status.Condition
}

// size is a size of a document, for people.
func size(v any) string {
	if n, ok := v.(float64); ok {
		return command.Size(int64(n))
	}
	return command.Value(v)
}

// target is which hosts a scale set may use, for people.
func target(s client.ScaleSetSpec) string {
	parts := append([]string(nil), s.Hosts...)
	if len(s.Selector) > 0 {
		parts = append(parts, pairs(s.Selector))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ",")
}

func scaleSetsShow() *cobra.Command {
	c := &cobra.Command{
		Use: "show NAME", Short: "Show a scale set", Args: command.Args(1, 1, scaleSetName), ValidArgsFunction: remote.CompleteScaleSets(1),
		Long: `Show a scale set. With -o yaml it is in the form that create and edit take.`,
	}
	output := command.AddOutput(c, "yaml")
	c.RunE = func(c *cobra.Command, args []string) error {
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		set, err := h.ScaleSet(c.Context(), args[0])
		if err != nil {
			return h.Explain(c, "scale set", args[0], err)
		}
		if output.YAML() {
			return command.WriteYAML(c.OutOrStdout(), set.ScaleSetSpec)
		}
		return output.Write(c.OutOrStdout(), set, func(w io.Writer) error { return showScaleSet(w, set) })
	}
	return c
}

// showScaleSet prints what is set, in the order of the document.
func showScaleSet(w io.Writer, s client.ScaleSet) error {
	rows := [][]string{{"runners", fmt.Sprintf("%d of at most %d", s.Runners, s.Max)}}
	if s.Status != nil {
		text := s.Status.Condition
		if s.Status.Text != "" {
			text += ": " + s.Status.Text
		}
		rows = append([][]string{{"status", text}}, rows...)
		if at := s.Status.RetryAt; at != nil {
			rows = append(rows, []string{"tried again", "in " + command.Short(time.Until(*at))})
		}
		if end := s.Status.LastEnd; end != nil {
			rows = append(rows, []string{"last end", fmt.Sprintf("%s ago on %s: %s", command.Age(end.At), cmp.Or(end.Host, "no host"), end.Text)})
		}
	}
	for _, f := range fieldsOf(s.ScaleSetSpec) {
		rows = append(rows, []string{strings.ReplaceAll(f.name, "_", " "), f.text})
	}
	rows = append(rows, []string{"version", strconv.FormatInt(s.Version, 10)},
		[]string{"created", command.Stamp(s.CreatedAt)}, []string{"updated", command.Stamp(s.UpdatedAt)})
	return command.Table(w, []string{"name", s.Name}, rows)
}

func scaleSetsCreate() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "create NAME -f FILE", Short: "Make a scale set from a file that has its fields", Args: command.Args(1, 1, scaleSetName),
		Long: `Make a scale set. FILE has its fields, in YAML or JSON, as show -o yaml prints
them. A name that is taken is refused. For many in one file: apply.`,
		Example: `  slipway scale-sets create small -f - <<EOF
  labels: [linux, small]
  image: ghcr.io/acme/runner:24.04
  cpu: 2
  memory: 4GiB
  max: 20
  min_idle: 2
  selector: {zone: a}
  EOF`,
	}
	output := command.AddOutput(c)
	addFile(c, &path)
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := readFile(c, path)
		if err != nil {
			return err
		}
		spec, err := parse(c, path, text)
		if err != nil {
			return err
		}
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		made, err := h.CreateScaleSet(c.Context(), client.NamedScaleSet{Name: args[0], ScaleSetSpec: spec})
		if err != nil {
			return h.Explain(c, "scale set", args[0], err)
		}
		return told(c, output, made, "created")
	}
	return c
}

// told prints a scale set that was written.
func told(c *cobra.Command, output *command.Output, set client.ScaleSet, did string) error {
	if output.JSON() {
		return command.WriteJSON(c.OutOrStdout(), set)
	}
	if len(set.Hosts) == 0 && len(set.Selector) == 0 {
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "scale set %s has no host: set hosts or selector\n", command.Printable(set.Name))
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), command.Printable(set.Name), did)
	return err
}

func scaleSetsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Short: "Delete scale sets", Args: command.Args(1, -1, scaleSetName), ValidArgsFunction: remote.CompleteScaleSets(-1),
		Long: `Delete scale sets. Nothing is started for them any more; their runners finish what
they do.`,
		RunE: func(c *cobra.Command, args []string) error {
			return remote.Removal("scale set", "deleted", func(ctx context.Context, h *remote.Hub, name string) error {
				return h.DeleteScaleSet(ctx, name, 0)
			}).Run(c, nil, args)
		},
	}
}

func scaleSetsExport() *cobra.Command {
	c := &cobra.Command{
		Use: "export", Short: "Print all scale sets as the file that apply takes", Args: command.Args(0, 0, ""),
	}
	var format string
	c.Flags().StringVarP(&format, "output", "o", "yaml", "yaml or json")
	remote.CompleteFlag(c, "output", remote.Words("yaml", "json"))
	c.RunE = func(c *cobra.Command, _ []string) error {
		if format != "yaml" && format != "json" {
			return command.Usage(c, "-o is %q: yaml or json is allowed", format)
		}
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		text, err := h.Export(c.Context())
		if err != nil {
			return h.Explain(c, "scale set", "", err)
		}
		if format == "json" {
			var doc any
			if doc, err = decodeYAML(text); err != nil {
				return errors.New("the hub's export is no YAML")
			}
			return command.WriteJSON(c.OutOrStdout(), doc)
		}
		_, err = c.OutOrStdout().Write(text)
		return err
	}
	return c
}

func scaleSetsWhy() *cobra.Command {
	c := &cobra.Command{
		Use: "why NAME", Short: "Tell of each host why a scale set's next runner can go there, or not", Args: command.Args(1, 1, scaleSetName),
		ValidArgsFunction: remote.CompleteScaleSets(1),
	}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return remote.List[client.Verdict]{
			Kind: "scale set", Name: args[0],
			Read: func(ctx context.Context, h *remote.Hub) ([]client.Verdict, string, error) {
				verdicts, err := h.Placement(ctx, args[0])
				return verdicts, "", err
			},
			Columns: []remote.Column[client.Verdict]{
				{Head: "HOST", Cell: func(v client.Verdict) string { return v.Host }},
				{Head: "ELIGIBLE", Cell: func(v client.Verdict) string { return yesNo(v.Eligible) }},
				{Head: "REASON", Cell: func(v client.Verdict) string { return v.Reason }},
				{Head: "TRIED AGAIN", Cell: triedAgain},
				{Head: "LAST FAILURE", Cell: lastFailure},
			},
		}.Print(c, output)
	}
	return c
}

// triedAgain is in how long a host is tried again that waits for a pause.
func triedAgain(v client.Verdict) string {
	if v.RetryAt == nil {
		return ""
	}
	return "in " + command.Short(time.Until(*v.RetryAt))
}

// lastFailure is how a launch failed last, and how long ago.
func lastFailure(v client.Verdict) string {
	if v.FailedAt == nil {
		return v.LastFailure
	}
	return fmt.Sprintf("%s ago: %s", command.Age(*v.FailedAt), v.LastFailure)
}

func scaleSetsSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of files of scale sets, for editors", Args: command.Args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(file.ScaleSetSchema())
			return err
		},
	}
}
