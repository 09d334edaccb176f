package update

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/release"
)

// maxManifest is more than a manifest has.
const maxManifest = 64 << 10

// Stage fetches a version from the hub, checks it, and makes it the active one, on
// trial. The caller then executes Installed. After an error all is as before.
func (u *Updater) Stage(ctx context.Context, version string) error {
	done, err := u.begin()
	if err != nil {
		return err
	}
	defer done()
	if err := u.stage(ctx, version); err != nil {
		return err
	}
	u.log.Info("update fetched", "version", version)
	return nil
}

// begin lets one update at a time through.
func (u *Updater) begin() (func(), error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case !u.config.Allowed():
		return nil, fmt.Errorf("%w: the policy of this host has update: false", ErrForbidden)
	case u.staging:
		return nil, ErrPending
	case u.trial:
		return nil, fmt.Errorf("%w: %s was not welcomed by the hub yet", ErrPending, u.config.Version)
	}
	u.staging = true
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.staging = false
	}, nil
}

func (u *Updater) stage(ctx context.Context, version string) error {
	if err := u.forward(version); err != nil {
		return err
	}
	m, err := u.told(ctx, version)
	if err != nil {
		return err
	}
	over, err := digest(u.installed)
	if err != nil {
		return fmt.Errorf("%w: the installed program can't be read: %w", ErrRefused, err)
	}
	next := build{Version: m.Version, SHA256: m.SHA256}
	if err := u.fetch(ctx, m, next.path(u.config.Folder)); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s, err := load(u.config.Folder)
	if err != nil {
		return err
	}
	before := s.Active
	switch {
	case !u.fetched:
		before = build{}
	case s.Pending: // another was fetched before, and did not begin
		before = s.Before
	}
	return u.keep(state{Over: over, Active: next, Before: before, Pending: true, Since: time.Now().UTC()})
}

// forward checks that a version is later than the one that runs.
func (u *Updater) forward(version string) error {
	ahead, err := release.Newer(u.config.Version, version)
	switch {
	case err != nil:
		return fmt.Errorf("%w: from %s: %w", ErrRefused, u.config.Version, err)
	case !ahead:
		return fmt.Errorf("%w: %s runs, and an update must go forward", ErrRefused, u.config.Version)
	}
	return nil
}

// name is what the hub calls the program for this platform.
func (u *Updater) name() string { return "slipway-agent-" + u.config.OS + "-" + u.config.Arch }

// told fetches the hub's manifest, and believes it if it is signed and is what was
// ordered.
func (u *Updater) told(ctx context.Context, version string) (release.Manifest, error) {
	key, err := u.key()
	if err != nil {
		return release.Manifest{}, err
	}
	body, err := u.get(ctx, u.name()+".manifest")
	if err != nil {
		return release.Manifest{}, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxManifest))
	if err != nil {
		return release.Manifest{}, fmt.Errorf("%w: manifest: %w", ErrFetch, err)
	}
	m, err := release.Parse(text)
	if err == nil {
		err = m.Verify(key)
	}
	if err == nil {
		err = m.For(version, u.config.OS, u.config.Arch)
	}
	switch {
	case err != nil:
		return release.Manifest{}, fmt.Errorf("%w: %w", ErrRefused, err)
	case m.Size > u.config.Limit:
		return release.Manifest{}, fmt.Errorf("%w: it has %d bytes, and %d are the most", ErrRefused, m.Size, u.config.Limit)
	}
	return m, u.forward(m.Version)
}

// Forbidden is why this host takes no updates; empty: it takes some.
func (u *Updater) Forbidden() string {
	if !u.config.Allowed() {
		return "the host's own policy forbids updates by the hub"
	}
	if _, err := u.key(); err != nil {
		return strings.TrimPrefix(err.Error(), ErrRefused.Error()+": ")
	}
	return ""
}

// key is the one that was pinned at installation.
func (u *Updater) key() (release.PublicKey, error) {
	text, err := u.config.Folder.Key()
	if errors.Is(err, fs.ErrNotExist) {
		return release.PublicKey{}, fmt.Errorf("%w: no key for updates is pinned on this host: put it into %s", ErrRefused, u.config.Folder.Join("update-key.pub"))
	}
	if err != nil {
		return release.PublicKey{}, fmt.Errorf("%w: the key for updates: %w", ErrRefused, err)
	}
	key, err := release.ParsePublicKey(text)
	if err != nil {
		return release.PublicKey{}, fmt.Errorf("%w: the key for updates: %w", ErrRefused, err)
	}
	return key, nil
}

// get fetches a file that the hub has for installations.
func (u *Updater) get(ctx context.Context, name string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(u.config.Hub, "/")+"/install/"+name, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	answer, err := u.config.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	if answer.StatusCode != http.StatusOK {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("%w: %s: the hub answers with status %d", ErrFetch, name, answer.StatusCode)
	}
	return answer.Body, nil
}

// fetch puts the program at path, if it is what the manifest says and runs here.
func (u *Updater) fetch(ctx context.Context, m release.Manifest, path string) error {
	dir := u.config.Folder.Join(binName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	temp, err := os.CreateTemp(dir, ".fetch-*")
	if err != nil {
		return fmt.Errorf("keep the program: %w", err)
	}
	defer os.Remove(temp.Name()) // gone when all went well
	err = u.copy(ctx, temp, m)
	err = errors.Join(err, temp.Chmod(0o700), temp.Sync(), temp.Close())
	if err != nil {
		return err
	}
	if err := u.tryOut(ctx, temp.Name(), m.Version); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return fmt.Errorf("keep the program: %w", err)
	}
	return identity.Sync(dir)
}

// copy streams the program to a file. Not a byte more than the manifest says is
// kept.
func (u *Updater) copy(ctx context.Context, to *os.File, m release.Manifest) error {
	body, err := u.get(ctx, u.name())
	if err != nil {
		return err
	}
	defer body.Close()
	err = m.Copy(to, body)
	switch {
	case errors.Is(err, release.ErrContent):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrFetch, err)
	}
	return nil
}

// tryOutTime is how long a program may take to tell its version.
const tryOutTime = 30 * time.Second

// tryOut has the program tell its version: one that does not run here, or is not
// what it is said to be, is refused before anything depends on it.
func (u *Updater) tryOut(ctx context.Context, path, version string) error {
	ctx, cancel := context.WithTimeout(ctx, tryOutTime)
	defer cancel()
	out, err := u.ask(ctx, path)
	// A child that was forked while the file was open for writing holds it for a moment.
	for tries := 0; tries < 50 && errors.Is(err, syscall.ETXTBSY); tries++ {
		select {
		case <-time.After(20 * time.Millisecond):
			out, err = u.ask(ctx, path)
		case <-ctx.Done():
		}
	}
	if err != nil {
		return fmt.Errorf("%w: it does not run here: %w", ErrRefused, err)
	}
	if fields := strings.Fields(string(out)); len(fields) < 2 || strings.TrimPrefix(fields[1], "v") != strings.TrimPrefix(version, "v") {
		return fmt.Errorf("%w: it does not say that it is %s", ErrRefused, version)
	}
	return nil
}

func (u *Updater) ask(ctx context.Context, path string) ([]byte, error) {
	c := exec.CommandContext(ctx, path, "version")
	c.Env = []string{"PATH=" + os.Getenv("PATH")}
	c.WaitDelay = time.Second
	return c.Output()
}
