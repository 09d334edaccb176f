package agentd

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent/policy"
	"github.com/slipway-ci/slipway/internal/cli/command"
)

const deploy = "../../deploy/"

func TestTheExamplePolicyIsSound(t *testing.T) {
	text, err := os.ReadFile(deploy + "slipway-agent.yaml")
	require.NoError(t, err)
	p, err := policy.Parse("slipway-agent.yaml", text)
	require.NoError(t, err)
	require.Equal(t, 8, p.MaxRunners())
	// What is commented out is as sound as the rest.
	whole := regexp.MustCompile(`(?m)^# (\w+: )`).ReplaceAll(text, []byte("$1"))
	p, err = policy.Parse("slipway-agent.yaml", whole)
	require.NoError(t, err)
	require.False(t, p.AllowsUpdate())
	require.Len(t, p.Binds(), 2)
}

func TestTheUnitFitsTheProgram(t *testing.T) {
	text, err := os.ReadFile(deploy + "slipway-agent.service")
	require.NoError(t, err)
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/slipway-agent (.*)$`).FindSubmatch(text)
	require.NotNil(t, start)
	c, flags, err := Root().Find(strings.Fields(string(start[1])))
	require.NoError(t, err)
	require.Equal(t, "run", c.Name())
	require.NoError(t, c.ParseFlags(flags))
	require.Equal(t, DefaultData, c.Flags().Lookup("data").Value.String())
	require.Contains(t, string(text), "StateDirectory="+strings.TrimPrefix(DefaultData, "/var/lib/")+"\n")
	require.Contains(t, string(text), "KillMode=process\n", "a stop of the agent must not end runners")
	require.Contains(t, string(text), "Type=notify\n")
}

// TestTheDocumentTellsAll holds docs/agent.md against the program.
func TestTheDocumentTellsAll(t *testing.T) {
	data, err := os.ReadFile("../../docs/agent.md")
	require.NoError(t, err)
	text := string(data)
	for _, c := range Root().Commands() {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		require.Contains(t, text, "`"+c.Name(), "the command")
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" {
				require.Contains(t, text, "`--"+f.Name, "flag of %s", c.Name())
			}
		})
	}
	var run *cobra.Command
	for _, c := range Root().Commands() {
		if c.Name() == "run" {
			run = c
		}
	}
	for _, name := range shared {
		require.NotNil(t, run.Flags().Lookup(name), "%s is shared and no flag", name)
		require.Contains(t, text, "`"+command.EnvName(sharedPrefix, name)+"`")
	}
	for _, word := range []string{EnrolTokenEnv, LocalTokenEnv, "agent.json", "token.next", "enrol.json", "update-key.pub", "update.json", "status.json", "write.lock"} {
		require.Contains(t, text, word)
	}
}
