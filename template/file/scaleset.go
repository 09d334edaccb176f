package file

import (
	"fmt"
	"strings"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
	"github.com/slipway-ci/slipway/template/file/internal/field"
)

// Limits of a file of scale sets.
const (
	// MaxScaleSets is how many it may have.
	MaxScaleSets = 1000
	// MaxScaleSetsSize is its size in bytes.
	MaxScaleSetsSize = 4 << 20
)

// The runtimes and the control planes of scale sets.
const (
	RuntimeShared       = field.RuntimeShared   // shared
	RuntimeIsolated     = field.RuntimeIsolated // isolated
	ControlPlaneQueue   = field.PlaneQueue      // queue
	ControlPlaneShipfox = field.PlaneShipfox    // shipfox
)

// ScaleSet is a scale set as it is written: a template, and where its runners may
// live. Its MaxConcurrency is the field max.
type ScaleSet struct {
	template.Template
	// Hosts are names of hosts as they are written, sorted, each once.
	Hosts []string
	// Selector asks for labels of hosts.
	Selector map[string]string
	// PerHostMax bounds its runners on one host; 0: nothing does.
	PerHostMax int
	// Isolated asks for a runtime that isolates.
	Isolated bool
	// Credential is the name of a registry credential, or empty.
	Credential string
	// ControlPlane is one of the constants.
	ControlPlane string
	// MinDiskFree is in bytes; 0: no floor.
	MinDiskFree int64

	// Places say where the parts are: fields by name, a host by hosts and its name
	// with a dot between, and the whole by the empty name.
	Places map[string]Place
}

// Place is a place in a file, both numbers from 1.
type Place struct{ Line, Column int }

// Problem is one at the place of a field, whose name may be empty or have a part
// after a dot.
func (s *ScaleSet) Problem(field, format string, args ...any) Problem {
	p, ok := s.Places[field]
	if name, _, cut := strings.Cut(field, "."); !ok && cut {
		p, ok = s.Places[name]
	}
	if !ok {
		p = s.Places[""]
	}
	return Problem{Line: p.Line, Column: p.Column, Path: field, Message: fmt.Sprintf(format, args...)}
}

// ScaleSets are those of a file.
type ScaleSets struct {
	// Sets in the order of the file; may be none.
	Sets []ScaleSet
	// Warnings are about what is allowed and probably not meant.
	Warnings []Warning
}

// ParseScaleSets reads a file of scale sets: version: 1, and scale_sets by name. The
// rules of templates hold, but nothing is evaluated. The name goes into errors. An
// error of the content is *Error and holds all that is wrong.
func ParseScaleSets(name string, data []byte, opts Options) (*ScaleSets, error) {
	r, root, err := readScaleSets(data, opts)
	if err != nil {
		return nil, err
	}
	out := &ScaleSets{}
	if root != nil {
		out.Sets = r.file(root)
	}
	if err := failure(name, r.doc); err != nil {
		return nil, err
	}
	out.Warnings = warningsOf(name, r.doc)
	return out, nil
}

// ParseScaleSet reads the fields of one scale set with this key, in YAML or JSON.
// An error of the content is *Error and holds all that is wrong.
func ParseScaleSet(name, key string, data []byte, opts Options) (*ScaleSet, error) {
	r, root, err := readScaleSets(data, opts)
	if err != nil {
		return nil, err
	}
	var out *ScaleSet
	if root != nil {
		out = r.scaleSet(key, root.Pos, root, "")
	}
	if err := failure(name, r.doc); err != nil {
		return nil, err
	}
	return out, nil
}

// ScaleSetFieldNames are the fields of a scale set, in the order of the reference.
func ScaleSetFieldNames() (names []string) {
	for _, f := range field.ScaleSet(&field.Placement{}) {
		names = append(names, f.Name)
	}
	return names
}

// CheckName says what is wrong with a name, of a scale set or of a credential, if
// anything.
func CheckName(name string) string {
	if len(name) >= 1 && len(name) <= 63 && name[0] != '-' && name[len(name)-1] != '-' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" {
		return ""
	}
	return "1 to 63 characters of a-z, 0-9 and - are allowed, with no - at either end"
}

// CheckScaleSetName says what is wrong with the name of a scale set, if anything.
func CheckScaleSetName(name string) string {
	if name == "apply" || name == "export" {
		return "the API has a route of that name; choose another one"
	}
	return CheckName(name)
}

// Suggest is "; did you mean x?" for the known word that is nearest to a wrong one,
// or nothing where none is near.
func Suggest(word string, known []string) string { return document.DidYouMean(word, known) }
