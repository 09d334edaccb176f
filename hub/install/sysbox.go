package install

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
)

// SysboxTable says where sysbox-runc comes from: by package manager (apt, dnf)
// and architecture (amd64, arm64), as in {"apt": {"amd64": {…}}}.
type SysboxTable map[string]map[string]SysboxPackage

// SysboxPackage is one package.
type SysboxPackage struct {
	// URL is where it is fetched: https, and it ends in .deb or .rpm.
	URL string `json:"url"`
	// SHA256 is what it must be, in lower-case hexadecimal.
	SHA256 string `json:"sha256"`
	// Package is its name once installed, for its removal.
	Package string `json:"package"`
}

//go:embed sysbox.json
var sysboxJSON []byte

// DefaultSysbox is the table of this build: Nestybox's own packages with the
// SHA-256 that it publishes. It publishes none for dnf.
func DefaultSysbox() SysboxTable {
	table, err := parseSysbox(sysboxJSON)
	if err != nil {
		panic(err) // a test reads the same file
	}
	return table
}

// ReadSysbox reads a table that replaces the default one whole; {} is a table
// without packages.
func ReadSysbox(path string) (SysboxTable, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	table, err := parseSysbox(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return table, nil
}

func parseSysbox(text []byte) (SysboxTable, error) {
	table := SysboxTable{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&table); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows the table", ErrConfig)
	}
	if table == nil {
		return nil, fmt.Errorf("%w: null is no table", ErrConfig)
	}
	return table, table.validate()
}

var (
	packageURL  = regexp.MustCompile(`^https://[A-Za-z0-9.:-]+/[A-Za-z0-9._~/+-]+\.(deb|rpm)$`)
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]{0,99}$`)
	sha256Form  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	ending      = map[string]string{"apt": "deb", "dnf": "rpm"}
)

func (t SysboxTable) validate() error {
	for _, manager := range slices.Sorted(maps.Keys(t)) {
		if ending[manager] == "" {
			return fmt.Errorf("%w: package manager %q: apt and dnf are known", ErrConfig, manager)
		}
		for _, arch := range slices.Sorted(maps.Keys(t[manager])) {
			p, where := t[manager][arch], manager+" "+arch
			match := packageURL.FindStringSubmatch(p.URL)
			switch {
			case !slices.Contains(architectures, arch):
				return fmt.Errorf("%w: %s: architectures are amd64 and arm64", ErrConfig, where)
			case match == nil || match[1] != ending[manager]:
				return fmt.Errorf("%w: %s: url is %q: https and a name that ends in .%s is needed", ErrConfig, where, p.URL, ending[manager])
			case !sha256Form.MatchString(p.SHA256):
				return fmt.Errorf("%w: %s: sha256: 64 lower-case hexadecimal digits are needed", ErrConfig, where)
			case !packageName.MatchString(p.Package):
				return fmt.Errorf("%w: %s: package is %q: the name of a package is needed", ErrConfig, where, p.Package)
			}
		}
	}
	return nil
}
