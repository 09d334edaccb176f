package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// workDir is the job's own folder, gone when the job is.
type workDir struct {
	root   string
	work   string // where the job starts
	tmp    string // its TMPDIR
	script string
}

func newWorkDir() (workDir, error) {
	base := os.TempDir()
	_ = os.MkdirAll(base, 0o777) // an image may be without; MkdirTemp tells
	root, err := os.MkdirTemp(base, "slipway-job-")
	if err != nil {
		return workDir{}, fmt.Errorf("make work folder: %w", err)
	}
	d := workDir{root, filepath.Join(root, "work"), filepath.Join(root, "tmp"), filepath.Join(root, "script.sh")}
	// A full disk may have room for folders, but for nothing in them.
	room := func() error { return os.WriteFile(d.script, []byte("\n"), 0o600) }
	if err := errors.Join(os.Mkdir(d.work, 0o755), os.Mkdir(d.tmp, 0o700), room()); err != nil {
		return workDir{}, errors.Join(fmt.Errorf("make work folder: %w", err), d.remove())
	}
	return d, nil
}

// remove takes everything away, folders that the job made read-only too.
func (d workDir) remove() error {
	if os.RemoveAll(d.root) == nil {
		return nil
	}
	_ = filepath.WalkDir(d.root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(d.root)
}
