package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Chunk is a piece of a log: bytes, or what is known of missing ones.
type Chunk struct {
	// Offset of the first byte.
	Offset int64
	// Data is empty where bytes are missing, and at the end of what there is.
	Data []byte
	// Missing is how many bytes are missing at Offset.
	Missing int64
	// Full says that they are missing for the disk was full, not since the
	// log grew over the limit.
	Full bool
}

// Next is the offset of what comes after.
func (c Chunk) Next() int64 { return c.Offset + int64(len(c.Data)) + c.Missing }

// End says that nothing is stored from Offset on, so far.
func (c Chunk) End() bool { return len(c.Data) == 0 && c.Missing == 0 }

// Mark is how missing bytes are told in a text.
func (c Chunk) Mark() string {
	why := "the log is longer than is kept"
	if c.Full {
		why = "the disk was full"
	}
	return fmt.Sprintf("\n[slipway: %d bytes of the log are missing here: %s]\n", c.Missing, why)
}

// Read returns a piece of the log from offset on, of at most limit bytes. It
// holds nothing open: readers may be as slow as they like, and find that what
// they have not read yet was cut.
func (s *Store) Read(k Key, offset int64, limit int) (Chunk, error) {
	dir, err := s.dir(k)
	if err != nil {
		return Chunk{}, err
	}
	lock := s.lock(k.Job)
	lock.RLock()
	defer lock.RUnlock()
	list, err := parts(dir)
	if err != nil {
		return Chunk{}, fmt.Errorf("logs: read log of job %s: %w", k.Job, err)
	}
	for _, p := range list {
		switch {
		case p.end() <= offset:
			continue
		case p.start > offset:
			return Chunk{Offset: offset, Missing: p.start - offset, Full: p.full}, nil
		}
		data, err := p.read(dir, offset-p.start, limit)
		if err != nil {
			return Chunk{}, fmt.Errorf("logs: read log of job %s: %w", k.Job, err)
		}
		return Chunk{Offset: offset, Data: data}, nil
	}
	return Chunk{Offset: offset}, nil
}

func (p part) read(dir string, from int64, limit int) ([]byte, error) {
	file, err := os.Open(filepath.Join(dir, p.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	data := make([]byte, min(int64(limit), p.size-from))
	n, err := file.ReadAt(data, from)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return data[:n], err
}
