package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func eventsCommand() *cobra.Command {
	var filter client.EventFilter
	var follow bool
	c := &cobra.Command{
		Use: "events", Short: "Show what happened on a hub, the oldest first", Args: command.Args(0, 0, ""),
		Long: `Show what happened on a hub: the newest events, the oldest of them first. With
--follow, what happens from then on too, through lost connections and restarts of
the hub. With -o json that is an object a line.`,
	}
	output := command.AddOutput(c)
	f := c.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "go on with what happens")
	f.StringSliceVar(&filter.Kinds, "kind", nil, "only these kinds, such as host-online, or host for all that begin so")
	f.StringVar(&filter.Object, "object", "", "only what happened to this, such as host/builder-01, or host for all hosts")
	f.Int64Var(&filter.After, "after", 0, "only those after the one with this id")
	f.IntVar(&filter.Limit, "limit", 50, "how many at most: 1 to 500; with --follow, of those that have happened")
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case filter.Limit < 1 || filter.Limit > 500:
			return command.Usage(c, "--limit is %d: 1 to 500 is allowed", filter.Limit)
		case filter.After < 0:
			return command.Usage(c, "--after is %d: it can't be negative", filter.After)
		}
		if follow {
			h, err := remote.Connect(c)
			if err != nil {
				return err
			}
			return followEvents(c, h, filter, output)
		}
		list := eventList
		list.Read = func(ctx context.Context, h *remote.Hub) ([]client.Event, string, error) {
			events, next, err := h.Events(ctx, filter)
			return events, position(next), err
		}
		return list.Print(c, output)
	}
	return c
}

var eventList = remote.List[client.Event]{
	Kind: "event", More: func(next string) string { return "--after " + next },
	Columns: []remote.Column[client.Event]{
		{Head: "ID", Cell: func(e client.Event) string { return fmt.Sprint(e.ID) }},
		{Head: "AT", Cell: func(e client.Event) string { return command.Stamp(e.At) }},
		{Head: "KIND", Cell: func(e client.Event) string { return e.Kind }},
		{Head: "OBJECT", Cell: func(e client.Event) string { return e.Object }},
		{Head: "TEXT", Cell: func(e client.Event) string { return e.Text }},
	},
}

// position is where a list of events goes on, as the API has it.
func position(next int64) string {
	if next == 0 {
		return ""
	}
	return strconv.FormatInt(next, 10)
}

// followEvents prints each event as it comes. Where the stream begins is asked for
// first, and without the filter: what comes between the two calls is in both.
func followEvents(c *cobra.Command, h *remote.Hub, filter client.EventFilter, output *command.Output) error {
	tell := func(e client.Event) error { return printEvent(c.OutOrStdout(), e, output) }
	if filter.After == 0 {
		newest, _, err := h.Events(c.Context(), client.EventFilter{Limit: 1})
		if err != nil {
			return h.Explain(c, "event", "", err)
		}
		past, _, err := h.Events(c.Context(), filter)
		if err != nil {
			return h.Explain(c, "event", "", err)
		}
		for _, e := range past {
			if err := tell(e); err != nil {
				return err
			}
		}
		for _, e := range append(newest, past...) {
			filter.After = max(filter.After, e.ID)
		}
	}
	return h.Explain(c, "event", "", h.FollowEvents(c.Context(), filter, tell))
}

func printEvent(w io.Writer, e client.Event, output *command.Output) error {
	if output.JSON() {
		return command.WriteJSONLine(w, e)
	}
	_, err := fmt.Fprintf(w, "%s  %-18s  %-24s  %s\n", command.Stamp(e.At), command.Printable(e.Kind), command.Printable(e.Object), command.Printable(e.Text))
	return err
}
