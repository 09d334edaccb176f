package standalone

import (
	"os"
	"path/filepath"
	"sync"
)

// logFile is a file that is opened anew when a rotation has renamed it. A nil one
// is none.
type logFile struct {
	path string

	mu   sync.Mutex
	file *os.File
}

// reopen makes the folders that are missing, and only appends: what a rotation
// cut off stays off. After an error the old one is written on.
func (l *logFile) reopen() error {
	if l == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file = f
	return nil
}

func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Write(line)
}

func (l *logFile) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
