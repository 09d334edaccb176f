package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func auditCommand() *cobra.Command {
	return command.Group("audit", "See who changed what on a hub", auditList())
}

func auditList() *cobra.Command {
	var filter client.AuditFilter
	var limit remote.Limit
	var since time.Duration
	c := &cobra.Command{Use: "list", Short: "List changes, the newest first", Args: command.Args(0, 0, "")}
	output := command.AddOutput(c)
	c.Flags().StringVar(&filter.Object, "object", "", "only changes of this, such as host/builder-01")
	c.Flags().StringVar(&filter.Action, "action", "", "only this action, such as edit-host")
	c.Flags().StringVar(&filter.TokenID, "token", "", "only what was asked with the token with this id")
	c.Flags().StringVar(&filter.Outcome, "outcome", "", "only this outcome: done, or the code of a problem such as forbidden")
	c.Flags().DurationVar(&since, "since", 0, "only the last so long, such as 24h")
	limit.Add(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := limit.Check(c); err != nil {
			return err
		}
		if since < 0 {
			return command.Usage(c, "--since is %s: it can't be negative", since)
		}
		list := auditEntries
		list.Read = func(ctx context.Context, h *remote.Hub) ([]client.AuditEntry, string, error) {
			asked := filter
			asked.Limit, asked.Cursor = limit.N, limit.Cursor
			if since > 0 {
				asked.Since = time.Now().Add(-since)
			}
			return h.Audit(ctx, asked)
		}
		return list.Print(c, output)
	}
	return c
}

var auditEntries = remote.List[client.AuditEntry]{Kind: "audit log", Columns: []remote.Column[client.AuditEntry]{
	{Head: "AT", Cell: func(e client.AuditEntry) string { return command.Stamp(e.At) }},
	{Head: "WHO", Cell: func(e client.AuditEntry) string { return cmp.Or(e.TokenName, e.TokenID) }},
	{Head: "ROLE", Cell: func(e client.AuditEntry) string { return e.Role }},
	{Head: "FROM", Cell: func(e client.AuditEntry) string { return e.Address }},
	{Head: "ACTION", Cell: func(e client.AuditEntry) string { return e.Action }},
	{Head: "OBJECT", Cell: func(e client.AuditEntry) string { return e.Object }},
	{Head: "OUTCOME", Cell: func(e client.AuditEntry) string { return e.Outcome }},
	{Head: "DETAIL", Cell: detail},
}}

// detail is what an entry tells beside who did what: its words, what was changed,
// and what was left out.
func detail(e client.AuditEntry) string {
	var parts []string
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	for _, change := range e.Changes {
		switch {
		case change.Before == nil:
			parts = append(parts, fmt.Sprintf("%s: %s", change.Field, command.Value(change.After)))
		case change.After == nil:
			parts = append(parts, fmt.Sprintf("%s: %s -> none", change.Field, command.Value(change.Before)))
		default:
			parts = append(parts, fmt.Sprintf("%s: %s -> %s", change.Field, command.Value(change.Before), command.Value(change.After)))
		}
	}
	if e.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d refused requests before it are not listed", e.Skipped))
	}
	return strings.Join(parts, "; ")
}
