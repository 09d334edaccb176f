package process

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A runner's output is in files named log.<offset of the first byte>: the first
// one keeps the head, and of those after it the last two are kept. So at most
// limit bytes are on disk, and what is missing in between shows in the names.
const (
	logPrefix  = "log."
	logTails   = 2
	headShare  = 4 // the head gets a quarter of the limit
	logNameLen = 20
)

// output writes a runner's output. A disk that is full loses output and stops
// nobody.
type output struct {
	dir        string
	head, tail int64 // bytes of the first file and of each one after it
	offset     int64 // of the next byte
	file       *os.File
	room       int64    // left in file
	tails      []string // those kept
}

func newOutput(dir string, limit int64) *output {
	head := limit / headShare
	return &output{dir: dir, head: head, tail: (limit - head) / logTails}
}

// Write never fails, so that a copy to it goes on whatever happens.
func (o *output) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if o.room == 0 {
			o.roll()
		}
		part := rest[:min(int64(len(rest)), o.room)]
		if o.file != nil {
			if _, err := o.file.Write(part); err != nil {
				o.close()
			}
		}
		o.offset += int64(len(part))
		o.room -= int64(len(part))
		rest = rest[len(part):]
	}
	return len(p), nil
}

// roll begins the next file, and removes the oldest that goes beyond the limit.
func (o *output) roll() {
	o.close()
	name := filepath.Join(o.dir, fmt.Sprintf("%s%0*d", logPrefix, logNameLen, o.offset))
	o.room = o.head
	if o.offset > 0 {
		o.room = o.tail
		o.tails = append(o.tails, name)
	}
	if len(o.tails) > logTails {
		os.Remove(o.tails[0])
		o.tails = o.tails[1:]
	}
	if f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err == nil {
		o.file = f
	}
}

func (o *output) close() {
	if o.file != nil {
		o.file.Close()
		o.file = nil
	}
}

// discardOutput empties the files of the output in dir, to make room on the disk.
func discardOutput(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, logPrefix+"*"))
	for _, name := range names {
		_ = os.Truncate(name, 0)
	}
}

// readOutput returns what is kept of the output in dir.
func readOutput(dir string) ([]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	type piece struct {
		offset int64
		name   string
	}
	var pieces []piece
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), logPrefix)
		if offset, err := strconv.ParseInt(digits, 10, 64); ok && err == nil {
			pieces = append(pieces, piece{offset, filepath.Join(dir, e.Name())})
		}
	}
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Compare(a.offset, b.offset) })
	var text []byte
	var end int64
	for _, p := range pieces {
		data, err := os.ReadFile(p.name)
		if os.IsNotExist(err) {
			continue // rolled away since
		}
		if err != nil {
			return nil, err
		}
		if p.offset > end {
			text = fmt.Appendf(text, "\n[%d bytes of output were cut here]\n", p.offset-end)
		}
		text = append(text, data...)
		end = p.offset + int64(len(data))
	}
	return text, nil
}

// lastLines returns the last n lines of text, all of them for 0.
func lastLines(text []byte, n int) []byte {
	if n <= 0 {
		return text
	}
	at := len(text)
	if at > 0 && text[at-1] == '\n' {
		at--
	}
	for ; at > 0; at-- {
		if text[at-1] == '\n' {
			if n--; n == 0 {
				break
			}
		}
	}
	return text[at:]
}
