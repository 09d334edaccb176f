package fleetcmd

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/template/file"
)

// maxFile is how long a file may be: the hub's own limit.
const maxFile = 1 << 20

func addFile(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "file", "f", "", "the file; - for standard input")
}

// readFile reads what --file names.
func readFile(c *cobra.Command, path string) ([]byte, error) {
	if path == "" {
		return nil, command.Usage(c, "--file is missing: which file? (- for standard input)")
	}
	in := c.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", path, err)
	case len(text) > maxFile:
		return nil, command.Usage(c, "%s is longer than %s", path, command.Size(maxFile))
	case len(bytes.TrimSpace(text)) == 0:
		return nil, command.Usage(c, "%s is empty", path)
	}
	return text, nil
}

// decodeYAML reads a document into maps, lists and scalars, those as the file has
// them: 010 is ten, and a date is its text.
func decodeYAML(text []byte) (out any, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	modern(&doc)
	return out, doc.Decode(&out)
}

// modern takes back what YAML 1.1 made of a scalar.
func modern(n *yaml.Node) {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!timestamp":
		n.SetString(n.Value)
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" && len(n.Value) > 1 && strings.Trim(n.Value, "0123456789") == "":
		n.Value = cmp.Or(strings.TrimLeft(n.Value, "0"), "0")
	}
	for _, child := range n.Content {
		modern(child)
	}
}

// nameOf is what errors call a file.
func nameOf(path string) string {
	if path == "-" {
		return "stdin"
	}
	return path
}

// wrongFile tells all that is wrong with a file on standard error.
func wrongFile(c *cobra.Command, err error) error {
	var wrong *file.Error
	if !errors.As(err, &wrong) {
		return err
	}
	_, _ = fmt.Fprintln(c.ErrOrStderr(), command.PrintableLines(wrong.Error()))
	return command.Exit(command.ExitUsage)
}

// parse reads the fields of one scale set. What is wrong is told on standard error,
// a line each beginning with its place; what depends on the hub, it checks itself.
func parse(c *cobra.Command, path string, text []byte) (set client.ScaleSetSpec, err error) {
	name := nameOf(path)
	_, err = file.ParseScaleSet(name, "scale-set", text, file.Options{AllowedBinds: []string{"/"}})
	if err := wrongFile(c, err); err != nil {
		return set, err
	}
	plain, err := decodeYAML(text)
	if err != nil {
		return set, command.Usage(c, "%s: %w", name, err)
	}
	asJSON, err := json.Marshal(plain)
	if err != nil {
		return set, command.Usage(c, "%s: %w", name, err)
	}
	if err := json.Unmarshal(asJSON, &set); err != nil {
		return set, command.Usage(c, "%s: %w", name, err)
	}
	return set, nil
}

// field is one field of a document that is set.
type field struct{ name, text string }

// fieldsOf are the fields of a scale set that are set, in their order.
func fieldsOf(s client.ScaleSetSpec) (fields []field) {
	v := reflect.ValueOf(s)
	for f, value := range v.Fields() {
		if value.IsZero() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		text := command.Value(value.Interface())
		switch v := value.Interface().(type) {
		case []string:
			text = strings.Join(v, ",")
		case map[string]string:
			text = pairs(v)
		}
		fields = append(fields, field{name, text})
	}
	return fields
}
