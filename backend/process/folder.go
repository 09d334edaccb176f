package process

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/uuid"
)

// folder is where the runners of one owner live:
//
//	<root>/<digest of owner>/
//	    locks/<id>       who holds it looks after the runner; not empty: it was
//	                     started. Without a runner it marks an id that is spent.
//	    new/<id>/        a runner being made
//	    trash/<id>/      a runner being removed
//	    <id>/state.json  all that List tells
//	    <id>/log.*       the output
//	    <id>/home, tmp   the runner's HOME and working directory, and its TMPDIR
type folder struct {
	root, path, owner string
}

const (
	locksName = "locks"
	newName   = "new"
	trashName = "trash"
)

func newFolder(root, owner string) folder {
	sum := sha256.Sum256([]byte(owner))
	return folder{root: root, path: filepath.Join(root, hex.EncodeToString(sum[:8])), owner: owner}
}

func (f folder) runner(id string) string { return filepath.Join(f.path, id) }
func (f folder) lock(id string) string   { return filepath.Join(f.path, locksName, id) }
func (f folder) fresh(id string) string  { return filepath.Join(f.path, newName, id) }
func (f folder) trash(id string) string  { return filepath.Join(f.path, trashName, id) }

// make makes the folder. One that others can write to, or that is theirs, is
// refused: they could put runners into it.
func (f folder) make() error {
	for _, name := range []string{locksName, newName, trashName} {
		if err := os.MkdirAll(filepath.Join(f.path, name), 0o700); err != nil {
			return err
		}
	}
	info, err := os.Lstat(f.path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o022 != 0 || ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("folder %s: it is not ours alone", f.path)
	}
	return nil
}

// read returns the state of the runner id. fs.ErrNotExist: there is none.
// errForeign: what is there is not a runner of this owner in our form.
func (f folder) read(id string) (*state, error) {
	st, err := readState(f.runner(id))
	if err != nil {
		return nil, err
	}
	if st.Owner != f.owner || st.ID != id {
		return nil, errForeign
	}
	return st, nil
}

// ids lists the entries of a folder that are named like runners.
func ids(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if validID(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// validID says whether id is a UUIDv7 in its canonical form. Nothing else ever
// becomes part of a path.
func validID(id string) bool {
	u, err := uuid.Parse(id)
	return err == nil && u.Version() == 7 && u.String() == id
}

// removeTree removes all of path. Jobs leave folders that may not be written to
// (module caches do), which os.RemoveAll can't empty.
func removeTree(path string) error {
	if err := os.RemoveAll(path); err == nil {
		return nil
	}
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && err == nil {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(path)
}
