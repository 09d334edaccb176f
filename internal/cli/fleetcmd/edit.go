package fleetcmd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func scaleSetsEdit() *cobra.Command {
	var file string
	var version int64
	c := &cobra.Command{
		Use: "edit NAME [-f FILE]", Short: "Edit a scale set in your editor, or replace it by a file", Args: command.Args(1, 1, scaleSetName),
		Long: `Edit a scale set in $VISUAL or $EDITOR, or with -f replace it by a file that has its
fields as show -o yaml prints them. It is replaced whole: what the text does not
name gets its default. An edit by somebody else meanwhile is not overwritten.`,
		ValidArgsFunction: remote.CompleteScaleSets(1),
	}
	output := command.AddOutput(c)
	addFile(c, &file)
	c.Flags().Int64Var(&version, "if-version", 0, "with -f: only if its version (see show) still is this one")
	c.RunE = func(c *cobra.Command, args []string) error {
		if version < 0 || version > 0 && file == "" {
			return command.Usage(c, "--if-version is for -f, and above 0")
		}
		if file == "" && !asks(c.InOrStdin()) {
			return command.Usage(c, "there is no terminal for an editor: give -f FILE")
		}
		var text []byte
		if file != "" {
			var err error
			if text, err = readFile(c, file); err != nil {
				return err
			}
		}
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		if file != "" {
			return replace(c, h, args[0], file, text, version, output)
		}
		return edit(c, h, args[0], output)
	}
	return c
}

// replace puts the text in the place of the scale set.
func replace(c *cobra.Command, h *remote.Hub, name, file string, text []byte, version int64, output *command.Output) error {
	spec, err := parse(c, file, text)
	if err != nil {
		return err
	}
	put, err := h.PutScaleSet(c.Context(), name, version, spec)
	if err != nil {
		return h.Explain(c, "scale set", name, err)
	}
	return told(c, output, put, "replaced")
}

// edit has people edit the scale set. What they wrote is not lost to an error.
func edit(c *cobra.Command, h *remote.Hub, name string, output *command.Output) error {
	set, err := h.ScaleSet(c.Context(), name)
	if err != nil {
		return h.Explain(c, "scale set", name, err)
	}
	var before bytes.Buffer
	if err := command.WriteYAML(&before, set.ScaleSetSpec); err != nil {
		return err
	}
	path, after, err := editor(c, before.Bytes())
	if err != nil {
		return err
	}
	if bytes.Equal(before.Bytes(), after) {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), "nothing was changed")
		return os.Remove(path)
	}
	if err := replace(c, h, name, path, after, set.Version, output); err != nil {
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "what you wrote is kept in %s; slipway scale-sets edit %s -f takes it\n", path, name)
		return err
	}
	return os.Remove(path)
}

// editor opens text in the editor and returns it as it was saved, and where.
func editor(c *cobra.Command, text []byte) (path string, saved []byte, err error) {
	f, err := os.CreateTemp("", "slipway-scale-set-*.yaml")
	if err != nil {
		return "", nil, err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", nil, errors.Join(err, os.Remove(f.Name()))
	}
	words := strings.Fields(cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi"))
	cmd := exec.CommandContext(c.Context(), words[0], append(words[1:], f.Name())...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.InOrStdin(), os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", nil, errors.Join(fmt.Errorf("editor %s: %w", words[0], err), os.Remove(f.Name()))
	}
	saved, err = os.ReadFile(f.Name())
	return f.Name(), saved, err
}
