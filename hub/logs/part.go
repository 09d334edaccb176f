package logs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// fullSuffix marks a part that follows bytes which came while the disk was full.
const fullSuffix = ".full"

// part is one file of a log.
type part struct {
	name  string
	start int64
	size  int64
	full  bool // what is missing before it was dropped for want of room
}

func (p part) end() int64 { return p.start + p.size }

func newPart(start int64, full bool) part {
	p := part{name: fmt.Sprintf("%016d", start), start: start, full: full}
	if full {
		p.name += fullSuffix
	}
	return p
}

// parts lists a log's, in order. A log that does not exist has none.
func parts(dir string) ([]part, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []part
	for _, entry := range entries {
		digits, full := strings.CutSuffix(entry.Name(), fullSuffix)
		start, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			continue // not ours
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // cut just now
		}
		if err != nil {
			return nil, err
		}
		list = append(list, part{name: entry.Name(), start: start, size: info.Size(), full: full})
	}
	slices.SortFunc(list, func(a, b part) int { return cmp.Compare(a.start, b.start) })
	return list, nil
}

// append adds to the part's file, which is made if it is missing.
func (p *part) append(dir string, data []byte) error {
	file, err := os.OpenFile(filepath.Join(dir, p.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	n, err := file.Write(data)
	p.size += int64(n)
	return errors.Join(err, file.Close())
}
