package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file"
)

func templatesCommand() *cobra.Command {
	return command.Group("templates", "Look into a template file",
		templatesValidate(), templatesRender(), templatesSelect(), templatesSchema())
}

// templateFile is the argument FILE and the operator's options with it.
type templateFile struct{ options file.Options }

func (f *templateFile) add(c *cobra.Command) {
	c.Args = command.Args(1, 1, "the template file (- for standard input)")
	c.Flags().StringVar(&f.options.DefaultImage, "default-image", "", "image of templates that name none")
	c.Flags().StringArrayVar(&f.options.AllowedBinds, "allow-bind", nil, "folder of the host that mounts may bind; may be given many times")
}

// load reads the file and writes its warnings to standard error, and what is wrong
// with it.
func (f *templateFile) load(c *cobra.Command, path string) (*file.File, error) {
	loaded, err := f.read(c, path)
	var wrong *file.Error
	if errors.As(err, &wrong) {
		// Every line begins with its place in the file, as editors want it.
		_, _ = fmt.Fprintln(c.ErrOrStderr(), command.PrintableLines(wrong.Error()))
		return nil, command.Exit(command.ExitFailed)
	}
	if err != nil {
		return nil, err
	}
	f.warn(c, loaded)
	return loaded, nil
}

func (f *templateFile) read(c *cobra.Command, path string) (*file.File, error) {
	if err := command.FromEnv(c, remote.EnvPrefix); err != nil {
		return nil, err
	}
	if path != "-" {
		return file.Load(path, f.options)
	}
	data, err := io.ReadAll(io.LimitReader(c.InOrStdin(), file.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read templates from standard input: %w", err)
	}
	return file.Parse("stdin", data, f.options)
}

func templatesValidate() *cobra.Command {
	var f templateFile
	c := &cobra.Command{Use: "validate FILE", Short: "Check a template file and tell all that is wrong with it"}
	f.add(c)
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if output.JSON() {
			return f.validateJSON(c, args[0])
		}
		loaded, err := f.load(c, args[0])
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s, %s\n", args[0], command.Plural(len(loaded.Templates), "template"), command.Plural(len(loaded.Warnings), "warning"))
		return err
	}
	return c
}

// finding is one thing that is wrong with a file, for editors. Line and Column count
// from 1; 0: it is about the whole file.
type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

// validateJSON prints an array of what is wrong, which is empty where nothing is.
func (f *templateFile) validateJSON(c *cobra.Command, path string) error {
	loaded, err := f.read(c, path)
	var wrong *file.Error
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	if wrong == nil {
		f.warn(c, loaded)
		return command.WriteJSON(c.OutOrStdout(), []finding{})
	}
	if err := command.WriteJSON(c.OutOrStdout(), findings(wrong)); err != nil {
		return err
	}
	return command.Exit(command.ExitFailed)
}

// findings are all that are told, those in the variants of a family among them.
func findings(wrong *file.Error) (all []finding) {
	for _, p := range wrong.Problems {
		all = append(all, finding{wrong.File, p.Line, p.Column, p.String()})
		for _, s := range p.Samples {
			for _, sp := range s.Problems {
				all = append(all, finding{wrong.File, sp.Line, sp.Column, s.Bindings + ": " + sp.String()})
			}
		}
	}
	if wrong.Dropped > 0 {
		all = append(all, finding{File: wrong.File, Message: fmt.Sprintf("and %d more problems", wrong.Dropped)})
	}
	return all
}

// warn writes a file's warnings to standard error.
func (f *templateFile) warn(c *cobra.Command, loaded *file.File) {
	for _, w := range loaded.Warnings {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), command.Printable(w.String()))
	}
}

func templatesRender() *cobra.Command {
	var f templateFile
	c := &cobra.Command{
		Use: "render FILE", Short: "Print the templates of a file, the generated ones too, in order",
	}
	f.add(c)
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		loaded, err := f.load(c, args[0])
		if err != nil {
			return err
		}
		if output.JSON() {
			return command.WriteJSON(c.OutOrStdout(), loaded.Rendered())
		}
		return templateTable(c.OutOrStdout(), loaded.Templates)
	}
	return c
}

func templatesSelect() *cobra.Command {
	var f templateFile
	var labels []string
	c := &cobra.Command{
		Use: "select --labels LABEL,... FILE", Short: "Print which templates fit a job with these labels, best first",
	}
	f.add(c)
	output := command.AddOutput(c)
	c.Flags().StringSliceVarP(&labels, "labels", "l", nil, "labels that the job asks for")
	c.RunE = func(c *cobra.Command, args []string) error {
		want, err := template.Canonical(labels)
		if err != nil {
			return command.Usage(c, "--labels: %w", err)
		}
		loaded, err := f.load(c, args[0])
		if err != nil {
			return err
		}
		fits := template.Select(loaded.Templates, want)
		if len(fits) == 0 {
			_, _ = fmt.Fprintf(c.ErrOrStderr(), "no template of %s has all of %s\n", args[0], strings.Join(want, ","))
		}
		if output.JSON() {
			keys := make([]string, len(fits))
			for i, t := range fits {
				keys[i] = t.Key
			}
			return command.WriteJSON(c.OutOrStdout(), keys)
		}
		return templateTable(c.OutOrStdout(), fits)
	}
	return c
}

func templatesSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of template files, for editors", Args: command.Args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(file.Schema())
			return err
		},
	}
}

func templateTable(w io.Writer, templates []template.Template) error {
	rows := make([][]string, len(templates))
	for i, t := range templates {
		rows[i] = []string{
			t.Key, strings.Join(t.Labels, ","), t.Image, command.Number(t.CPU), command.Size(t.Memory),
			strconv.Itoa(t.MaxConcurrency), strconv.Itoa(t.TargetConcurrency), strconv.Itoa(t.MinIdle), command.Number(t.EffectiveCost()),
		}
	}
	return command.Table(w, []string{"KEY", "LABELS", "IMAGE", "CPU", "MEMORY", "MAX", "TARGET", "IDLE", "COST"}, rows)
}
