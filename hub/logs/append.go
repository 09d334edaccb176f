package logs

import (
	"fmt"
	"os"
	"path/filepath"
)

// Append stores data, whose first byte is at offset, and returns how long the
// log is then; also when it fails, as far as it came. Bytes below that are passed
// over, so the same may be appended again. ErrGap: offset is above it; nothing
// was stored.
func (s *Store) Append(k Key, offset int64, data []byte) (length int64, err error) {
	return s.change(k, offset, func(w *writer) error {
		return w.write(data[min(w.length()-offset, int64(len(data))):])
	})
}

// Drop is Append for data that is not kept, for the disk is full: the log gets
// longer, and readers are told what is missing.
func (s *Store) Drop(k Key, offset int64, n int) (length int64, err error) {
	return s.change(k, offset, func(w *writer) error {
		if end := offset + int64(n); end > w.length() {
			return w.skip(end)
		}
		return nil
	})
}

func (s *Store) change(k Key, offset int64, do func(*writer) error) (int64, error) {
	dir, err := s.dir(k)
	if err != nil {
		return 0, err
	}
	lock := s.lock(k.Job)
	lock.Lock()
	defer lock.Unlock()
	w := &writer{s: s, dir: dir}
	if w.parts, err = parts(dir); err != nil {
		return 0, fmt.Errorf("logs: read log of job %s: %w", k.Job, err)
	}
	if offset < 0 || offset > w.length() {
		return w.length(), ErrGap
	}
	if err := do(w); err != nil {
		return w.length(), fmt.Errorf("logs: write log of job %s: %w", k.Job, err)
	}
	return w.length(), nil
}

// Length is how long the log is, with what is missing in it.
func (s *Store) Length(k Key) (int64, error) {
	dir, err := s.dir(k)
	if err != nil {
		return 0, err
	}
	list, err := parts(dir)
	return (&writer{parts: list}).length(), err
}

// writer is one change of one log, under its lock.
type writer struct {
	s     *Store
	dir   string
	parts []part
}

func (w *writer) length() int64 {
	if len(w.parts) == 0 {
		return 0
	}
	return w.parts[len(w.parts)-1].end()
}

func (w *writer) write(data []byte) error {
	for len(data) > 0 {
		if len(w.parts) == 0 || w.last().size >= w.s.cfg.PartBytes {
			if err := w.begin(w.length(), false); err != nil {
				return err
			}
		}
		n := min(int64(len(data)), w.s.cfg.PartBytes-w.last().size)
		before := w.last().size
		err := w.last().append(w.dir, data[:n])
		w.s.total.Add(w.last().size - before)
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (w *writer) last() *part { return &w.parts[len(w.parts)-1] }

// skip makes the log longer without keeping anything. What is dropped in a row
// is one gap.
func (w *writer) skip(end int64) error {
	if len(w.parts) == 0 || !w.last().full || w.last().size > 0 {
		return w.begin(end, true)
	}
	p := newPart(end, true)
	if err := os.Rename(filepath.Join(w.dir, w.last().name), filepath.Join(w.dir, p.name)); err != nil {
		return err
	}
	*w.last() = p
	return nil
}

// begin makes a new part, and cuts the middle out when there are too many.
func (w *writer) begin(start int64, full bool) error {
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return err
	}
	p := newPart(start, full)
	if err := p.append(w.dir, nil); err != nil {
		return err
	}
	w.parts = append(w.parts, p)
	return w.cut()
}

// cut keeps the first half of the limit and the newest of the rest. A part may
// be shorter than it could be, where the disk was full, so their number is what
// bounds them.
func (w *writer) cut() error {
	most := int(w.s.cfg.Limit / w.s.cfg.PartBytes)
	head := most / 2
	for len(w.parts) > most {
		if err := os.Remove(filepath.Join(w.dir, w.parts[head].name)); err != nil {
			return err
		}
		w.s.total.Add(-w.parts[head].size)
		w.parts = append(w.parts[:head], w.parts[head+1:]...)
	}
	return nil
}
