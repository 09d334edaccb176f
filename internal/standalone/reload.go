package standalone

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/slipway-ci/slipway/provisioner/shipfox"
	"github.com/slipway-ci/slipway/template/file"
)

// reloadInterval is how often the template file is looked at. Tests set less.
var reloadInterval = 2 * time.Second

// sheet tells a template file as it was read from what it is now.
type sheet struct {
	modified time.Time
	size     int64
	digest   [sha256.Size]byte
}

// readSheet reads what a template file may hold, and a byte more, once: a pipe can't
// be read again. The time is that of before: a change in between shows later.
func readSheet(path string) ([]byte, sheet, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, sheet{}, fmt.Errorf("read templates: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, sheet{}, fmt.Errorf("read templates: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, file.MaxSize+1))
	if err != nil {
		return nil, sheet{}, fmt.Errorf("read templates: %w", err)
	}
	return data, sheet{info.ModTime(), info.Size(), sha256.Sum256(data)}, nil
}

// touched says whether the file is not the one that was read, by its time and size,
// which cost nothing. One that is gone for a moment is being replaced, and no
// regular one is like a pipe.
func (s sheet) touched(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && !(info.ModTime().Equal(s.modified) && info.Size() == s.size)
}

// watchTemplates reads the template file again on a signal and when its content
// changes. A good one takes effect, a bad one is refused whole and the old one
// stays.
func (p *program) watchTemplates(ctx context.Context, reload <-chan struct{}) {
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	for {
		asked := p.unasked
		select {
		case <-ctx.Done():
			return
		case <-reload:
			asked = true
		case <-tick.C:
			if !asked && !p.sheet.touched(p.config.TemplatesFile) {
				continue
			}
		}
		p.reload(ctx, asked)
	}
}

// reload reads the file and takes its templates, if it is asked to or they are
// others. Where the service can't be asked about them it is tried again.
func (p *program) reload(ctx context.Context, asked bool) {
	path := p.config.TemplatesFile
	refuse := func(err error) {
		p.log.Error("the template file is refused, the old templates stay", "file", path, "err", err)
	}
	again := p.unasked
	p.unasked = false
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		refuse(errors.New("it is no regular file: such a one is read once, at the start"))
		return
	}
	data, read, err := readSheet(path)
	if err != nil {
		if asked {
			refuse(err)
		}
		return
	}
	had := p.sheet.digest
	if p.sheet = read; !asked && read.digest == had {
		return
	}
	templates, warnings, err := p.config.parse(data)
	if err == nil {
		err = p.control.CheckTemplates(ctx, templates)
		if p.unasked = err != nil && !errors.Is(err, shipfox.ErrTooManyTemplates); p.unasked {
			if !again {
				p.log.Warn("the service can't be asked about the template file: the old templates stay until it can", "file", path, "err", err)
			}
			return
		}
	}
	if err == nil {
		err = p.loop.SetTemplates(templates)
	}
	if err != nil {
		refuse(err)
		return
	}
	for _, w := range warnings {
		p.log.Warn(w.String())
	}
	p.log.Info("templates reloaded", "file", path, "count", len(templates))
}
