package tokens_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/tokens"
)

func TestFormOfTheWire(t *testing.T) {
	for _, kind := range []tokens.Kind{"pt", "mrt", "ert", "rbt", "rcs", "rat", "adm", "het", "agt"} {
		token := tokens.New(kind)
		require.Regexp(t, `^sf_`+string(kind)+`_[A-Za-z0-9_-]{43}$`, token.Reveal())
		require.Equal(t, kind, token.Kind())
		require.Equal(t, token.Reveal()[:12], token.Prefix())

		named := tokens.NewIn("staging", kind)
		require.Regexp(t, `^sf_staging_`+string(kind)+`_`, named.Reveal())
		require.Equal(t, kind, named.Kind())

		for _, made := range []tokens.Token{token, named} {
			read, err := tokens.Parse(made.Reveal())
			require.NoError(t, err)
			require.True(t, read.Equal(made))
			digest, err := tokens.ParseDigest(made.Digest().String())
			require.NoError(t, err)
			require.True(t, digest.Equal(read.Digest()))
		}
		require.False(t, token.Equal(named))
	}
	require.False(t, tokens.Token{}.Equal(tokens.Token{}), "the zero token must not open anything")
}

func TestParseRefuses(t *testing.T) {
	good := tokens.New(tokens.Provisioner).Reveal()
	for _, text := range []string{
		"", "sf_", "sf_pt_", good[:len(good)-1], good + "A", "x" + good, strings.Replace(good, "sf_pt_", "sf_xx_", 1),
		strings.Replace(good, "sf_pt_", "sf_pt_pt_", 1), strings.Replace(good, "sf_pt_", "sf__pt_", 1),
		strings.Replace(good, "sf_pt_", "sf_a_b_pt_", 1), good[:10] + "!" + good[11:], good + "\n", " " + good,
	} {
		_, err := tokens.Parse(text)
		require.ErrorIs(t, err, tokens.ErrMalformed, "%q", text)
		if len(text) > 20 {
			require.NotContains(t, err.Error(), text[8:20], "an error must not tell the secret")
		}
	}
}

func TestNothingPrintsTheSecret(t *testing.T) {
	token := tokens.New(tokens.Bootstrap)
	secret := token.Reveal()[tokens.PrefixLength:]
	holder := struct {
		T tokens.Token
		P *tokens.Token
		M map[string]tokens.Token
		t tokens.Token // fmt calls no methods on it
		p *tokens.Token
		m map[string]tokens.Token
		s []tokens.Token
		k map[tokens.Token]bool
		a any
	}{
		token, &token, map[string]tokens.Token{"k": token},
		token, &token, map[string]tokens.Token{"k": token}, []tokens.Token{token}, map[tokens.Token]bool{token: true}, token,
	}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", token, holder, &holder)
	}
	require.NoError(t, json.NewEncoder(&out).Encode(holder))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("token", "token", token, "holder", holder)
	slog.New(slog.NewTextHandler(&out, nil)).Info("token", "token", token, "holder", holder)
	hclog.New(&hclog.LoggerOptions{Output: &out}).Info("token", "token", token, "holder", holder)
	hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: true}).Info("token", "token", token)
	fmt.Fprintln(&out, fmt.Errorf("refused: %v", token))

	require.NotContains(t, out.String(), secret)
	require.NotContains(t, out.String(), fmt.Sprintf("%x", secret))
	require.Contains(t, out.String(), token.Prefix(), "listings need the prefix")
}

// A token is a value: what was read twice is one key of a map.
func TestTheSameTextIsTheSameToken(t *testing.T) {
	token := tokens.New(tokens.Agent)
	again, err := tokens.Parse(token.Reveal())
	require.NoError(t, err)
	require.True(t, map[tokens.Token]bool{token: true}[again])
	require.False(t, map[tokens.Token]bool{token: true}[tokens.New(tokens.Agent)])
	zero := tokens.Token{}
	require.True(t, zero.IsZero())
	require.Equal(t, [4]string{"", "", "", "(none)"}, [4]string{zero.Reveal(), zero.Prefix(), string(zero.Kind()), zero.String()})
}

func TestRedact(t *testing.T) {
	a, b := tokens.New(tokens.Provisioner), tokens.NewIn("dev", tokens.Activation)
	text := "create: env " + a.Reveal() + "=x; bearer " + b.Reveal() + " was refused by sf_registry"
	require.Equal(t, "create: env sf_…=x; bearer sf_… was refused by sf_registry", tokens.Redact(text))
}

func FuzzParse(f *testing.F) {
	f.Add(tokens.New(tokens.Admin).Reveal())
	f.Add("sf_pt_")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := tokens.Parse(text)
		if err == nil && (token.Reveal() != text || token.Kind() == "") {
			t.Fatalf("%q parsed to another token", text)
		}
	})
}
