package hosts

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/tokens"
)

// Every token that the registry gives out or takes in must be in no file of the
// data folder, in no log, in no event and in no error; and each digest, which is no
// secret, in the database.
func TestSecretsAreNowhere(t *testing.T) {
	log, events := new(bytes.Buffer), new(bytes.Buffer)
	w := newWorld(t, func(c *Config) {
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Trace})
		c.Events = func(kind, object, text string) { fmt.Fprintln(events, kind, object, text) }
	})
	ctx := t.Context()
	secrets := map[string]tokens.Token{}
	_, first := w.add("a")
	secrets["enrolment"], secrets["agent's"] = first.Token, tokens.New(tokens.Agent)
	_, err := w.Enrol(ctx, first.Token, agentA, secrets["agent's"].Digest())
	require.NoError(t, err)
	_, refused := w.Enrol(ctx, first.Token, agentB, tokens.New(tokens.Agent).Digest())
	require.Error(t, refused)
	_, again, err := w.Reenrol(ctx, "a", ReenrolSpec{})
	require.NoError(t, err)
	secrets["second enrolment"] = again.Token
	secrets["rotated"] = tokens.New(tokens.Agent)
	w.fleet.rotate = func(string) (tokens.Digest, error) { return secrets["rotated"].Digest(), nil }
	require.NoError(t, w.RotateToken(ctx, "a"))
	secrets["local agent's"] = tokens.New(tokens.Agent)
	_, err = w.LocalAgent(ctx, secrets["local agent's"], "")
	require.NoError(t, err)
	_, failed := w.Invited(ctx, first.Token)
	require.Error(t, failed)
	listed, _, err := w.Enrolments(ctx, Page{})
	require.NoError(t, err)
	hosts, _, err := w.Hosts(ctx, Filter{})
	require.NoError(t, err)
	told := log.String() + events.String() + refused.Error() + failed.Error() + fmt.Sprintf("%+v %+v", listed, hosts)
	require.NotEmpty(t, events.String())

	files, err := os.ReadDir(w.dir)
	require.NoError(t, err)
	var database strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(w.dir, file.Name()))
		require.NoError(t, err)
		database.Write(content)
	}
	for name, secret := range secrets {
		hidden := secret.Reveal()[len("sf_het_"):]
		for _, part := range []string{hidden, hidden[:16], hidden[len(hidden)-16:]} {
			require.NotContains(t, database.String(), part, "the %s token is in a file", name)
			require.NotContains(t, told, part, "the %s token was told", name)
		}
		require.Contains(t, database.String(), secret.Digest().String(), "the %s token is not known by its digest: the search would find nothing", name)
	}
}
