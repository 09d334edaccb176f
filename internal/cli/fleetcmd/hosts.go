package fleetcmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

const hostName = "the host's name"

// Hosts is slipway hosts.
func Hosts() *cobra.Command {
	return command.Group("hosts", "Add machines to a hub, see how they do, take them out of service",
		hostsAdd(), hostsList(), hostsShow(), hostsSet(), hostsCordon(), hostsUncordon(), hostsDrain(), hostsReenrol(),
		hostsRotate(), hostsRevoke(), hostsUpdate(), hostsRemove(), enrolments())
}

func hostsList() *cobra.Command {
	selector := labels{}
	c := &cobra.Command{Use: "list", Short: "List the hosts", Args: command.Args(0, 0, "")}
	output := command.AddOutput(c, "yaml")
	c.Flags().VarP(selector, "labels", "l", "only hosts with all of these labels")
	c.RunE = func(c *cobra.Command, _ []string) error {
		list := hostList
		list.Read = func(ctx context.Context, h *remote.Hub) ([]client.Host, string, error) {
			return remote.All(func(cursor string) ([]client.Host, string, error) {
				return h.Hosts(ctx, client.HostFilter{Selector: selector, Cursor: cursor})
			})
		}
		if len(selector) == 0 {
			list.None = "there are no hosts: slipway hosts add NAME makes one"
		}
		return list.Print(c, output)
	}
	return c
}

var hostList = remote.List[client.Host]{Kind: "host", Columns: []remote.Column[client.Host]{
	{Head: "NAME", Cell: func(h client.Host) string { return h.Name }},
	{Head: "STATUS", Cell: hostStatus},
	{Head: "RUNNERS", Cell: room},
	{Head: "PLATFORM", Cell: platform},
	{Head: "DISK FREE", Cell: func(h client.Host) string { return command.Size(h.DiskFree) }},
	{Head: "AGENT", Cell: func(h client.Host) string { return h.AgentVersion }},
	{Head: "LABELS", Cell: func(h client.Host) string { return pairs(h.Labels) }},
	{Head: "SINCE", Cell: func(h client.Host) string { return command.AgeOf(h.Since) }},
	{Head: "PROBLEM", Cell: trouble},
}}

// hostStatus is how a host does, in words.
func hostStatus(h client.Host) string {
	status := "online"
	switch {
	case !h.Enrolled:
		status = "not-enrolled"
	case h.Lost:
		status = "lost"
	case !h.Online:
		status = "offline"
	case h.NeedsUpdate:
		status = "needs-update"
	case !h.Ready:
		status = "not-ready"
	}
	switch {
	case h.Draining:
		status += ",draining"
	case h.Cordoned:
		status += ",cordoned"
	}
	if h.UpdateTo != "" {
		status += ",updating"
	}
	return status
}

// room is how many runners a host has, of how many.
func room(h client.Host) string { return fmt.Sprintf("%d/%d", h.Runners, h.Cap) }

func platform(h client.Host) string {
	if h.OS == "" {
		return ""
	}
	return fmt.Sprintf("%s/%s %s CPU %s", h.OS, h.Arch, strconv.Itoa(h.CPUs), command.Size(h.MemoryBytes))
}

// trouble is what is wrong with a host, the worst of it.
func trouble(h client.Host) string {
	text := cmp.Or(h.Problem, h.UpdateProblem)
	if text == "" && len(h.BackingOff) > 0 {
		text = "backing off: " + h.BackingOff[0]
		if more := len(h.BackingOff) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
	}
	return text
}

func hostsShow() *cobra.Command {
	c := &cobra.Command{
		Use: "show NAME", Short: "Show a host", Args: command.Args(1, 1, hostName), ValidArgsFunction: remote.CompleteHosts(1),
	}
	output := command.AddOutput(c, "yaml")
	c.RunE = func(c *cobra.Command, args []string) error {
		return remote.Show(c, output, "host", args[0], func(ctx context.Context, h *remote.Hub) (client.Host, error) { return h.Host(ctx, args[0]) }, showHost)
	}
	return c
}

func showHost(w io.Writer, h client.Host) error {
	limit := "its CPUs"
	if h.MaxRunners > 0 {
		limit = strconv.Itoa(h.MaxRunners)
	}
	since := ""
	if h.Since != nil {
		since = fmt.Sprintf("%s (%s)", command.Stamp(*h.Since), command.Age(*h.Since))
	}
	drain := ""
	if h.Draining {
		drain = "until nothing runs there"
		if h.DrainDeadline != nil {
			drain += ", at the latest " + command.Stamp(*h.DrainDeadline)
		}
	}
	disk := ""
	if h.DiskTotal > 0 {
		disk = fmt.Sprintf("%s free of %s", command.Size(h.DiskFree), command.Size(h.DiskTotal))
	}
	gpus := make([]string, len(h.GPUs))
	for i, g := range h.GPUs {
		gpus[i] = strings.TrimSpace(g.ID + " " + g.Name)
	}
	rows := [][]string{
		{"id", h.ID}, {"status", hostStatus(h)}, {"since", since}, {"problem", h.Problem}, {"runners", room(h)}, {"max runners", limit},
		{"labels", pairs(h.Labels)}, {"drain", drain}, {"platform", platform(h)}, {"disk", disk}, {"runtimes", strings.Join(h.Runtimes, ",")},
		{"isolated", yesNo(h.Isolated)}, {"gpus", strings.Join(gpus, ", ")}, {"agent", h.AgentVersion}, {"update to", h.UpdateTo},
		{"update problem", h.UpdateProblem}, {"created", command.Stamp(h.CreatedAt)}, {"last seen", command.StampOf(h.LastSeenAt)},
		{"version", strconv.FormatInt(h.Version, 10)},
	}
	for _, reason := range h.BackingOff {
		rows = append(rows, []string{"backing off", reason})
	}
	return command.Table(w, []string{"name", h.Name}, rows)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
