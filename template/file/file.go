package file

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/slipway-ci/slipway/template"
)

// Limits of a file.
const (
	// MaxSize is the size of a file in bytes.
	MaxSize = 1 << 20
	// MaxTemplates is how many templates a file may have: the products of its
	// matrix before exclusion, what they include, and the hand-written ones.
	MaxTemplates = 1000
)

// Options are the operator's part in reading a file.
type Options struct {
	// DefaultImage is the image of templates that name none; default none: their
	// Image stays empty.
	DefaultImage string
	// AllowedBinds are the folders of the host that mounts may bind, they
	// themselves and what is below, as absolute paths; default none. The path in
	// the file is compared after cleaning, component by component. A symbolic
	// link below an allowed folder is not looked through.
	AllowedBinds []string
}

// File is a template file that was read.
type File struct {
	// Templates in the order that the package comment tells. At least one.
	Templates []template.Template
	// Warnings are about what is allowed and probably not meant.
	Warnings []Warning
}

// Load reads the file at path and parses it. An error of the content is *Error,
// one of the file system wraps the fs error.
func Load(path string, opts Options) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	return Parse(path, data, opts)
}

// Parse renders the template file in data. The name goes into errors and
// warnings. An error of the content is *Error and holds all that is wrong.
func Parse(name string, data []byte, opts Options) (*File, error) {
	binds, err := cleanBinds(opts.AllowedBinds)
	if err != nil {
		return nil, err
	}
	ld := newLoader(name, data, opts.DefaultImage, binds)
	templates := ld.load()
	if err := ld.problems.err(); err != nil {
		return nil, err
	}
	return &File{Templates: templates, Warnings: ld.problems.warnings}, nil
}

func cleanBinds(binds []string) ([]string, error) {
	out := make([]string, 0, len(binds))
	for _, bind := range binds {
		if !path.IsAbs(bind) {
			return nil, fmt.Errorf("allowed bind %q: not an absolute path", bind)
		}
		out = append(out, path.Clean(bind))
	}
	return out, nil
}

// loader holds what one Parse needs.
type loader struct {
	problems     *problems
	source       *source
	eval         *evaluator
	defaultImage string
	binds        []string
	maxName      string // what the file calls MaxConcurrency

	hand map[string]*node // hand-written templates by key
}

func newLoader(name string, data []byte, defaultImage string, binds []string) *loader {
	return &loader{
		problems:     &problems{file: name},
		source:       newSource(data),
		defaultImage: strings.TrimSpace(defaultImage),
		binds:        binds,
		maxName:      "max_concurrency",
		hand:         map[string]*node{},
	}
}
