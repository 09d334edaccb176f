package file

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
	"github.com/slipway-ci/slipway/template/file/internal/expr"
	"github.com/slipway-ci/slipway/template/file/internal/field"
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
	opts, err := opts.clean()
	if err != nil {
		return nil, err
	}
	ld := newLoader(data, opts)
	templates := ld.load()
	if err := failure(name, ld.doc); err != nil {
		return nil, err
	}
	return &File{Templates: templates, Warnings: warningsOf(name, ld.doc)}, nil
}

// clean is a copy in which what means the same is the same.
func (o Options) clean() (Options, error) {
	binds := make([]string, 0, len(o.AllowedBinds))
	for _, bind := range o.AllowedBinds {
		if !path.IsAbs(bind) {
			return o, fmt.Errorf("allowed bind %q: not an absolute path", bind)
		}
		binds = append(binds, path.Clean(bind))
	}
	return Options{DefaultImage: strings.TrimSpace(o.DefaultImage), AllowedBinds: binds}, nil
}

// loader holds what one Parse needs.
type loader struct {
	doc  *document.File
	size int // of the text, in bytes
	opts Options

	base *expr.Scope               // of what sees vars alone
	hand map[string]*document.Node // hand-written templates by key
}

func newLoader(data []byte, opts Options) *loader {
	return &loader{doc: document.New(data), size: len(data), opts: opts, hand: map[string]*document.Node{}}
}

// decoder is for the fields of one template.
func (ld *loader) decoder() *field.Decoder {
	return &field.Decoder{Doc: ld.doc, DefaultImage: ld.opts.DefaultImage, Binds: ld.opts.AllowedBinds, MaxName: "max_concurrency"}
}
