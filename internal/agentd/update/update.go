package update

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// InstalledEnv names the installed program to a version that it has executed.
const InstalledEnv = "SLIPWAY_AGENT_INSTALLED"

// Updater is one agent's. Its methods may be called from many goroutines; but for
// Problem the caller holds the data folder's lock.
type Updater struct {
	config    Config
	log       hclog.Logger
	installed string // the program that every start begins with
	fetched   bool   // this program is one that was fetched

	mu      sync.Mutex // of what follows, and of update.json
	staging bool
	trial   bool
	welcome chan struct{} // closed by the first one
}

// New makes an Updater; it changes nothing.
func New(config Config) (*Updater, error) {
	config = config.withDefaults()
	if config.Executable == "" {
		var err error
		if config.Executable, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("update: find this program: %w", err)
		}
	}
	u := &Updater{config: config, log: config.Logger, installed: config.Executable, welcome: make(chan struct{})}
	if u.fetched = u.ours(config.Executable); u.fetched {
		if u.installed = os.Getenv(InstalledEnv); u.installed == "" || u.ours(u.installed) {
			return nil, fmt.Errorf("update: %s was not started by the installed program: start that one", config.Executable)
		}
	}
	return u, nil
}

// ours says whether a program lies among those that were fetched.
func (u *Updater) ours(path string) bool {
	dir, err := filepath.EvalSymlinks(u.config.Folder.Join(binName))
	return err == nil && filepath.Dir(path) == dir
}

// Installed is the program that every start begins with.
func (u *Updater) Installed() string { return u.installed }

// Program decides what this start runs: the path of another program that is to be
// executed instead, or nothing. A new version's start is counted. Whatever is wrong
// with what was fetched, or with the disk, the installed program can go on.
func (u *Updater) Program() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	before, err := load(u.config.Folder)
	if err != nil {
		u.log.Warn("what was fetched is forgotten", "err", err)
		before = state{Over: "?", Problem: err.Error()}
	}
	if u.fetched {
		u.trial = before.Pending && before.Active.path(u.config.Folder) == u.config.Folder.Join(binName, filepath.Base(u.config.Executable))
		return ""
	}
	if before == (state{}) {
		return ""
	}
	s := u.choose(before)
	if s != before {
		if err := u.keep(s); err != nil {
			u.log.Warn("the state of updates can't be kept", "err", err)
			if s.Pending { // its start is not counted: it might be tried for ever
				return ""
			}
		}
	}
	if s.Active == (build{}) {
		return ""
	}
	return s.Active.path(u.config.Folder)
}

// choose is the state with which this start goes on.
func (u *Updater) choose(s state) state {
	if sum, err := digest(u.installed); err != nil || sum != s.Over {
		if s.Active != (build{}) {
			u.log.Info("another program was installed: what was fetched over the former one is forgotten", "version", u.config.Version)
			return state{}
		}
		return state{Problem: s.Problem}
	}
	for s.Active != (build{}) {
		reason := u.unfit(s)
		if reason == "" {
			break
		}
		s.back(reason)
		u.log.Warn("update went back", "reason", s.Problem)
	}
	if s.Pending {
		s.Starts++
	}
	return s
}

// keep writes the state and removes the programs that it does not name.
func (u *Updater) keep(s state) error {
	if err := save(u.config.Folder, s); err != nil {
		return err
	}
	u.tidy(s)
	return nil
}

// unfit is why the active version may not be started.
func (u *Updater) unfit(s state) string {
	if s.Pending && s.Starts >= u.config.Starts {
		return fmt.Sprintf("it was started %d times and never welcomed by the hub", s.Starts)
	}
	if s.Pending && s.Starts > 0 && time.Since(s.Since) > u.config.Deadline { // it hung, and somebody ended it
		return fmt.Sprintf("the hub did not welcome it within %s", u.config.Deadline)
	}
	sum, err := digest(s.Active.path(u.config.Folder))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "its file is gone"
	case err != nil:
		return "its file can't be read"
	case sum != s.Active.SHA256:
		return "its file was changed"
	}
	return ""
}

// NotStarted is told that the program which Program named could not be executed.
// The one before is active again.
func (u *Updater) NotStarted(why error) error {
	return u.Back(fmt.Sprintf("it can't be executed: %v", why))
}

// Back makes the version before active again. The caller executes Installed.
func (u *Updater) Back(reason string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, err := load(u.config.Folder)
	if err != nil {
		return err
	}
	s.back(reason)
	u.trial = false
	u.log.Warn("update goes back", "reason", s.Problem)
	return u.keep(s)
}

// OnTrial says whether this program is a new version that no hub has welcomed yet.
func (u *Updater) OnTrial() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.trial
}

// Deadline is how long a new version has for that.
func (u *Updater) Deadline() time.Duration { return u.config.Deadline }

// Welcome is closed when the hub has welcomed a version on trial.
func (u *Updater) Welcome() <-chan struct{} { return u.welcome }

// Welcomed is told of every welcome; the first one ends the trial.
func (u *Updater) Welcomed() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.trial {
		return
	}
	s, err := load(u.config.Folder)
	if err == nil {
		s.Pending, s.Starts, s.Since, s.Problem = false, 0, time.Time{}, ""
		err = u.keep(s)
	}
	if err != nil {
		u.log.Warn("the update can't be kept", "err", err)
		return
	}
	u.trial = false
	close(u.welcome)
	u.log.Info("update done", "version", s.Active.name())
}

// Problem is why the last update went back; empty: it did not.
func (u *Updater) Problem() string {
	s, err := load(u.config.Folder)
	if err != nil {
		return err.Error()
	}
	return s.Problem
}

// tidy removes programs that no state names.
func (u *Updater) tidy(s state) {
	entries, err := os.ReadDir(u.config.Folder.Join(binName))
	if err != nil {
		return // there are none
	}
	named := map[string]bool{}
	for _, b := range []build{s.Active, s.Before} {
		if b != (build{}) {
			named[filepath.Base(b.path(u.config.Folder))] = true
		}
	}
	for _, e := range entries {
		if !named[e.Name()] {
			_ = os.Remove(u.config.Folder.Join(binName, e.Name()))
		}
	}
}

// digest is the SHA-256 of a file.
func digest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
