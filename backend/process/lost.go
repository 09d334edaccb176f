package process

import (
	"errors"
	"io/fs"
	"os"
)

// lost is what is known of the runner id whose state can't be read, for err. It is
// ours where its lock says that it was started here; else err stands.
func (f folder) lost(id string, err error) (*state, error) {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errForeign) {
		return nil, err
	}
	lock, lockErr := os.Stat(f.lock(id))
	dir, dirErr := os.Stat(f.runner(id))
	if lockErr != nil || lock.Size() == 0 || dirErr != nil || !dir.IsDir() {
		return nil, err
	}
	return &state{Version: stateVersion, Owner: f.owner, ID: id, Phase: phaseLost, Created: dir.ModTime()}, nil
}

// lives says whether somebody looks after the runner id, as far as can be told.
func (f folder) lives(id string) bool {
	busy, err := held(f.lock(id))
	return busy || err != nil
}

// look is folder.read, but a runner of ours whose state can't be read is told as
// it was known last, in phaseLost.
func (b *Backend) look(id string) (*state, error) {
	st, err := b.folder.read(id)
	if err != nil {
		return b.recall(id, err)
	}
	return st, nil
}

// own is look for who holds the runner's lock, and may write its state: one in
// another form is left alone.
func (b *Backend) own(id string) (*state, error) {
	st, err := b.folder.read(id)
	if errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) {
		return b.recall(id, err)
	}
	return st, err
}

func (b *Backend) recall(id string, err error) (*state, error) {
	st, err := b.folder.lost(id, err)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.known[id]; ok {
		*st = known
		if st.Phase != phaseEnded { // else there is no more to know
			st.Phase = phaseLost
		}
	}
	return st, nil
}

// remember keeps what was seen, for when it can't be read any more.
func (b *Backend) remember(seen map[string]state) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = seen
}
