package logs

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
)

// Errors of Append and New.
var (
	// ErrGap: the bytes begin after what is stored.
	ErrGap = errors.New("logs: gap")
	// ErrInvalid: the configuration or a key is wrong.
	ErrInvalid = errors.New("logs: invalid")
)

// Config says where the logs are.
type Config struct {
	// Dir is the folder; made with mode 0700 if missing. Required.
	Dir string
	// Limit is how many bytes of a log are kept; default 16 MiB, at least four parts.
	Limit int64
	// PartBytes is the size of a part; default a sixteenth of Limit.
	PartBytes int64
}

func (c Config) withDefaults() Config {
	if c.Limit == 0 {
		c.Limit = 16 << 20
	}
	if c.PartBytes == 0 {
		c.PartBytes = c.Limit / 16
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Dir == "":
		return fmt.Errorf("%w: Dir is empty", ErrInvalid)
	case c.PartBytes < 1:
		return fmt.Errorf("%w: PartBytes is %d: at least 1 is needed", ErrInvalid, c.PartBytes)
	case c.Limit < 4*c.PartBytes:
		return fmt.Errorf("%w: Limit is %d: at least four parts of %d are needed", ErrInvalid, c.Limit, c.PartBytes)
	}
	return nil
}

// Store holds all logs. Its methods may be called from many goroutines.
type Store struct {
	cfg   Config
	seed  maphash.Seed
	locks [64]sync.RWMutex // of the folders, by hash of the job
	total atomic.Int64
}

// New opens the folder.
func New(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("logs: make folder: %w", err)
	}
	return &Store{cfg: cfg, seed: maphash.MakeSeed()}, nil
}

// Key names the log of one attempt of a job.
type Key struct {
	Job     string // its id
	Attempt int    // 1 for the first
}

func (s *Store) lock(job string) *sync.RWMutex {
	return &s.locks[maphash.String(s.seed, job)%uint64(len(s.locks))]
}

// jobDir spreads the jobs over folders by the end of their ids, which is random.
func (s *Store) jobDir(job string) (string, error) {
	if len(job) < 2 || filepath.Base(job) != job || job == ".." {
		return "", fmt.Errorf("%w: job %.40q", ErrInvalid, job)
	}
	return filepath.Join(s.cfg.Dir, job[len(job)-2:], job), nil
}

func (s *Store) dir(k Key) (string, error) {
	dir, err := s.jobDir(k.Job)
	if err != nil || k.Attempt < 1 {
		return "", errors.Join(fmt.Errorf("%w: log of job %.40q, attempt %d", ErrInvalid, k.Job, k.Attempt), err)
	}
	return filepath.Join(dir, strconv.Itoa(k.Attempt)), nil
}

// Remove deletes all logs of a job and tells how many bytes they held.
func (s *Store) Remove(job string) (int64, error) {
	dir, err := s.jobDir(job)
	if err != nil {
		return 0, err
	}
	lock := s.lock(job)
	lock.Lock()
	defer lock.Unlock()
	size, err := sizeOf(dir)
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return 0, fmt.Errorf("logs: remove log of job %s: %w", job, err)
	}
	s.total.Add(-size)
	return size, nil
}

// Total is how many bytes are kept, as far as Scan and what came since tell.
func (s *Store) Total() int64 { return s.total.Load() }

// Scan counts what is kept and removes the logs of jobs that keep does not know:
// left by a crash. It is called once, before anything else.
func (s *Store) Scan(keep func(job string) (bool, error)) error {
	shards, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("logs: scan: %w", err)
	}
	for _, shard := range shards {
		jobs, err := os.ReadDir(filepath.Join(s.cfg.Dir, shard.Name()))
		if err != nil {
			return fmt.Errorf("logs: scan: %w", err)
		}
		for _, job := range jobs {
			if err := s.scan(job.Name(), keep); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) scan(job string, keep func(string) (bool, error)) error {
	known, err := keep(job)
	if err != nil {
		return err
	}
	dir, err := s.jobDir(job)
	if err != nil {
		return err
	}
	lock := s.lock(job)
	lock.Lock()
	defer lock.Unlock()
	if !known {
		return os.RemoveAll(dir)
	}
	size, err := sizeOf(dir)
	s.total.Add(size)
	return err
}

// sizeOf is 0 for what does not exist.
func sizeOf(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return total, err
}
