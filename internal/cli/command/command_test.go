package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/slipway-ci/slipway/tokens"
)

func run(t *testing.T, do func(*cobra.Command, []string) error, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	c := &cobra.Command{Use: "prog", RunE: do, Args: Args(0, 1, "a thing")}
	c.Flags().Int("some-number", 1, "")
	c.SetOut(&out)
	c.SetErr(&errs)
	code = Run(c, args)
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	secret := tokens.New(tokens.Admin).Reveal()
	for _, c := range []struct {
		err  error
		code int
		line string
	}{
		{nil, 0, ""},
		{errors.New("it broke"), 1, "prog: it broke\n"},
		{errors.Join(errors.New("it broke"), errors.New("so did that")), 1, "prog: it broke; so did that\n"},
		{fmt.Errorf("wrapped: %w", Exit(7)), 7, ""},
		{errors.New("job \x1b[31mred\u202e"), 1, "prog: job [31mred\n"},
		{fmt.Errorf("token %s is bad", secret), 1, "prog: token sf_… is bad\n"},
	} {
		code, _, stderr := run(t, func(*cobra.Command, []string) error { return c.err })
		require.Equal(t, c.code, code)
		require.Equal(t, c.line, stderr)
	}
	code, _, stderr := run(t, func(c *cobra.Command, _ []string) error { return Usage(c, "%w", errors.New("wrong")) })
	require.Equal(t, ExitUsage, code)
	require.Equal(t, "prog: wrong (see prog --help)\n", stderr)
	for _, args := range [][]string{{"--nope"}, {"--some-number", "x"}, {"a", "b"}} {
		code, _, stderr = run(t, func(*cobra.Command, []string) error { return nil }, args...)
		require.Equal(t, ExitUsage, code, "%s", stderr)
	}
}

func TestFlagsFromTheEnvironment(t *testing.T) {
	number := func(args ...string) (int, int, string) {
		var got int
		code, _, stderr := run(t, func(c *cobra.Command, _ []string) error {
			if err := FromEnv(c, "PROG_"); err != nil {
				return err
			}
			var err error
			got, err = c.Flags().GetInt("some-number")
			return err
		}, args...)
		return code, got, stderr
	}
	_, got, _ := number()
	require.Equal(t, 1, got)
	t.Setenv("PROG_SOME_NUMBER", "5")
	_, got, _ = number()
	require.Equal(t, 5, got)
	_, got, _ = number("--some-number", "7")
	require.Equal(t, 7, got, "a flag wins")
	t.Setenv("PROG_SOME_NUMBER", "many")
	code, _, stderr := number()
	require.Equal(t, ExitUsage, code)
	require.Contains(t, stderr, "PROG_SOME_NUMBER")
	t.Setenv("PROG_SOME_NUMBER", "")
	_, got, _ = number()
	require.Equal(t, 1, got, "empty is not set")
}

func TestASignalEndsTheContext(t *testing.T) {
	code, _, stderr := run(t, func(c *cobra.Command, _ []string) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-c.Context().Done()
		return Interrupt(c.Context())
	})
	require.Equal(t, ExitFailed, code)
	require.Equal(t, "prog: interrupted by SIGTERM\n", stderr)
	require.NoError(t, Interrupt(context.Background()))
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, Table(&out, []string{"ID", "NAME"}, [][]string{{"1", "a\nb\x1b[31m"}, {"long one", ""}}))
	require.Equal(t, "ID        NAME\n1         a b[31m\nlong one  -\n", out.String())
}

func TestYAMLIsTheJSON(t *testing.T) {
	type doc struct {
		Z     string         `json:"z"`
		A     map[string]any `json:"a"`
		Empty []string       `json:"empty"`
		Long  []string       `json:"long"`
		N     float64        `json:"n"`
		Big   int64          `json:"big"`
		Null  *int           `json:"null"`
	}
	for _, text := range []string{"plain", "", "yes", "null", "010", "1e3", "2026-01-02", "a: b", "- a", "#x", "two\nlines", " space ", "é\"'", "~", "*a", "0x1f", ".inf", "<<"} {
		d := doc{text, map[string]any{text: text, "k": true}, []string{}, []string{text, "a text that is too long for one line with others"}, 0.5, 1 << 62, nil}
		var out bytes.Buffer
		require.NoError(t, WriteYAML(&out, d))
		require.True(t, strings.HasPrefix(out.String(), "z:"), "the fields keep their order: %s", out.String())
		var back, want any
		require.NoError(t, yaml.Unmarshal(out.Bytes(), &back), out.String())
		asJSON, err := json.Marshal(d)
		require.NoError(t, err)
		require.NoError(t, yaml.Unmarshal(asJSON, &want))
		require.Equal(t, want, back, out.String())
	}
	var out bytes.Buffer
	require.NoError(t, WriteYAML(&out, map[string]any{"labels": []string{"a", "b"}, "env": map[string]string{}}))
	require.Equal(t, "env: {}\nlabels: [a, b]\n", out.String())
}

func TestForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m", 119 * time.Minute: "1h", 47 * time.Hour: "47h", 49 * time.Hour: "2d",
	} {
		require.Equal(t, want, Short(d))
	}
	for n, want := range map[int64]string{0: "", 7: "7B", 1536: "1.5KiB", 4 << 30: "4GiB", 3 << 40: "3TiB"} {
		require.Equal(t, want, Size(n))
	}
	for want, v := range map[string]any{
		"": nil, "a b": "a b", "0.5": 0.5, "20": float64(20), "7": 7, "true": true, `["a","<b>"]`: []string{"a", "<b>"}, `{"k":"v"}`: map[string]any{"k": "v"},
	} {
		require.Equal(t, want, Value(v))
	}
	require.Equal(t, "a, b or c", Choice("a", "b", "c"))
	require.Equal(t, "a", Choice("a"))
	require.Equal(t, "", StampOf(nil))
	require.Equal(t, "", AgeOf(nil))
	require.Equal(t, "1 runner", Plural(1, "runner"))
	require.Equal(t, "0 runners", Plural(0, "runner"))
}

func TestInvalidIsAWrongCall(t *testing.T) {
	code, _, stderr := run(t, func(*cobra.Command, []string) error { return Invalid(errors.New("the hub refuses it")) })
	require.Equal(t, ExitUsage, code)
	require.Equal(t, "prog: the hub refuses it\n", stderr)
}
