package remote

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
)

// completeTimeout is how long a shell may be held up for a completion.
const completeTimeout = 1500 * time.Millisecond

// names of objects, as a hub tells them.
type names func(ctx context.Context, h *Hub) ([]string, error)

// complete offers names. Without a hub there are none: a shell is no place for errors.
func complete(most int, find names) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		h, err := Connect(c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		parent := c.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completeTimeout)
		defer cancel()
		found, _ := find(ctx, h)
		fits := slices.DeleteFunc(found, func(name string) bool { return !strings.HasPrefix(name, typed) || slices.Contains(args, name) })
		return fits, cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteHosts offers names of hosts for at most so many arguments; -1: any number.
func CompleteHosts(most int) cobra.CompletionFunc {
	return complete(most, func(ctx context.Context, h *Hub) ([]string, error) {
		hosts, _, err := h.Hosts(ctx, client.HostFilter{})
		return namesOf(hosts, func(x client.Host) string { return x.Name }), err
	})
}

// CompleteScaleSets offers names of scale sets.
func CompleteScaleSets(most int) cobra.CompletionFunc {
	return complete(most, func(ctx context.Context, h *Hub) ([]string, error) {
		sets, _, err := h.ScaleSets(ctx, client.ScaleSetFilter{})
		return namesOf(sets, func(x client.ScaleSet) string { return x.Name }), err
	})
}

// CompleteRunners offers ids of runners.
func CompleteRunners(most int) cobra.CompletionFunc {
	return complete(most, func(ctx context.Context, h *Hub) ([]string, error) {
		runners, _, err := h.Runners(ctx, client.RunnerFilter{})
		return namesOf(runners, func(x client.Runner) string { return x.ID + "\t" + x.ScaleSet + " on " + x.Host }), err
	})
}

// CompleteCredentials offers names of credentials.
func CompleteCredentials(most int) cobra.CompletionFunc {
	return complete(most, func(ctx context.Context, h *Hub) ([]string, error) {
		found, err := h.Credentials(ctx)
		return namesOf(found, func(x client.Credential) string { return x.Name }), err
	})
}

// CompleteFlag offers words for a flag of c, which must have it.
func CompleteFlag(c *cobra.Command, flag string, words cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, words); err != nil {
		panic(err) // an error in the program
	}
}

// Words offers fixed words.
func Words(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

func namesOf[T any](items []T, name func(T) string) []string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = name(item)
	}
	return out
}
