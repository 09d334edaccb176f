package file_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/template/file"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the transcripts and the table of docs/templates.md anew")

// TestTranscripts runs the cases of testdata/*.txt. A case is
//
//	== what it shows | option=value ...
//	YAML
//	--
//	what Parse makes of it
//
// The options are image (DefaultImage) and allow (one of AllowedBinds).
func TestTranscripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			var renewed strings.Builder
			for _, c := range readCases(t, string(data)) {
				got := transcript(c.input, c.opts)
				fmt.Fprintf(&renewed, "== %s\n%s--\n%s\n", c.title, c.input, got)
				if !*update {
					t.Run(c.title, func(t *testing.T) {
						require.Equal(t, c.want, got, "the transcript differs; renew it with -update and read the difference")
					})
				}
			}
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(renewed.String()), 0o644))
			}
		})
	}
}

type testCase struct {
	title, input, want string
	opts               file.Options
}

func readCases(t *testing.T, data string) []testCase {
	var cases []testCase
	for _, block := range strings.Split("\n"+data, "\n== ")[1:] {
		title, rest, _ := strings.Cut(block, "\n")
		input, want, ok := strings.Cut("\n"+rest, "\n--\n")
		if !ok {
			input, want = strings.TrimRight("\n"+rest, "\n"), ""
		}
		c := testCase{title: title, input: strings.TrimPrefix(input, "\n") + "\n", want: strings.TrimRight(want, "\n") + "\n"}
		_, options, _ := strings.Cut(title, " | ")
		for _, option := range strings.Fields(options) {
			switch name, value, _ := strings.Cut(option, "="); name {
			case "image":
				c.opts.DefaultImage = value
			case "allow":
				c.opts.AllowedBinds = append(c.opts.AllowedBinds, value)
			default:
				t.Fatalf("case %q: unknown option %s", title, option)
			}
		}
		cases = append(cases, c)
	}
	return cases
}

// transcript is what a reader wants to see of a result: a line for each
// template, then the warnings, or all of the error.
func transcript(input string, opts file.Options) string {
	f, err := file.Parse("t.yaml", []byte(input), opts)
	if err != nil {
		var parseErr *file.Error
		if !errors.As(err, &parseErr) {
			return "NOT A *file.Error: " + err.Error() + "\n"
		}
		return err.Error() + "\n"
	}
	var b strings.Builder
	for _, r := range f.Rendered() {
		b.WriteString(line(r) + "\n")
	}
	for _, w := range f.Warnings {
		b.WriteString(w.String() + "\n")
	}
	return b.String()
}

// line tells the reference's fields in words and ours, where there are any, in JSON.
func line(r file.Rendered) string {
	out := fmt.Sprintf("%s [%s] image=%q cpu=%v memory=%d max=%d target=%d cost=%v",
		r.Key, strings.Join(r.Labels, " "), r.Image, r.CPU, r.MemoryBytes, r.MaxConcurrency, r.TargetConcurrency, r.Cost)
	data, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	ours := map[string]any{}
	if err := json.Unmarshal(data, &ours); err != nil {
		return err.Error()
	}
	for _, known := range []string{"key", "labels", "image", "cpu", "memory_bytes", "max_concurrency", "target_concurrency", "cost"} {
		delete(ours, known)
	}
	if ours["min_idle"] == 0.0 {
		delete(ours, "min_idle")
	}
	if ours["no_new_privileges"] == true {
		delete(ours, "no_new_privileges")
	}
	if len(ours) > 0 {
		data, _ = json.Marshal(ours)
		out += " " + string(data)
	}
	return out
}
