package install

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/slipway-ci/slipway/internal/release"
)

// architectures are those that agents run on, as the script finds them.
var architectures = []string{"amd64", "arm64"}

// programName is what is served of AgentsDir, besides the key; nothing else is
// looked for, so that no name leads out of the folder.
var programName = regexp.MustCompile(`^slipway-agent-(linux|darwin)-(amd64|arm64)(\.manifest)?$`)

const keyFile = "update-key.pub"

// shelf finds the programs and remembers what they hash to.
type shelf struct {
	dir, beside, version string

	mu     sync.Mutex
	hashes map[string]hashed // by path
}

type hashed struct {
	info   fs.FileInfo
	sha256 string
}

// agent is one program. Close its file.
type agent struct {
	file    *os.File
	info    fs.FileInfo
	sha256  string
	version string
	// manifest is nil where there is none.
	manifest *release.Manifest
}

// open finds the program for a platform: errNoAgent where there is none, another
// error where there is one that must not be given out.
func (s *shelf) open(goos, arch string) (_ *agent, err error) {
	a, path, err := s.find(goos, arch)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.file.Close())
		}
	}()
	if a.info, err = a.file.Stat(); err != nil {
		return nil, err
	}
	if !a.info.Mode().IsRegular() || a.info.Size() == 0 {
		return nil, fmt.Errorf("%s: no file with anything in it", path)
	}
	if a.sha256, err = s.hash(path, a); err != nil {
		return nil, err
	}
	if err := s.describe(a, path, goos, arch); err != nil {
		return nil, err
	}
	return a, nil
}

// find opens the file: of AgentsDir, else the one beside the hub.
func (s *shelf) find(goos, arch string) (*agent, string, error) {
	candidates := []string{}
	if s.dir != "" {
		candidates = append(candidates, filepath.Join(s.dir, "slipway-agent-"+goos+"-"+arch))
	}
	if s.beside != "" && own(goos, arch) {
		candidates = append(candidates, filepath.Join(s.beside, "slipway-agent"))
	}
	for _, path := range candidates {
		file, err := os.Open(path)
		if err == nil {
			return &agent{file: file}, path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, path, err
		}
	}
	return nil, "", errNoAgent
}

// hash is the SHA-256 of the program, computed once for each file that is put there.
func (s *shelf) hash(path string, a *agent) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock() // held while hashing, so that many requests hash once
	if known, ok := s.hashes[path]; ok && os.SameFile(known.info, a.info) &&
		known.info.Size() == a.info.Size() && known.info.ModTime().Equal(a.info.ModTime()) {
		return known.sha256, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, a.file); err != nil {
		return "", err
	}
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	s.hashes[path] = hashed{info: a.info, sha256: hex.EncodeToString(sum.Sum(nil))}
	return s.hashes[path].sha256, nil
}

// describe reads the manifest beside the program, and what the program is called.
func (s *shelf) describe(a *agent, path, goos, arch string) error {
	if s.dir == "" || filepath.Dir(path) != filepath.Clean(s.dir) {
		a.version = s.version
		return nil
	}
	m, err := release.Read(path + ".manifest")
	if errors.Is(err, fs.ErrNotExist) {
		a.version = "unsigned-" + a.sha256[:12]
		return nil
	}
	if err != nil {
		return err
	}
	if m.OS != goos || m.Arch != arch || m.SHA256 != a.sha256 || m.Size != a.info.Size() {
		return fmt.Errorf("%s is not the program that its manifest names (%s %s/%s, SHA-256 %s): put both there anew", path, m.Version, m.OS, m.Arch, m.SHA256)
	}
	key, err := s.key()
	switch {
	case err != nil:
		return err
	case !key.IsZero() && m.KeyID != "":
		if err := m.Verify(key); err != nil {
			return fmt.Errorf("%s.manifest: %w", path, err)
		}
	}
	a.version, a.manifest = m.Version, &m
	return nil
}

// key is that of updates; the zero value where there is none.
func (s *shelf) key() (release.PublicKey, error) {
	if s.dir == "" {
		return release.PublicKey{}, nil
	}
	key, err := release.ReadPublicKey(filepath.Join(s.dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return release.PublicKey{}, nil
	}
	return key, err
}
