package standalone

import (
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// reloadInterval is how often the template file is looked at.
const reloadInterval = 2 * time.Second

// watchTemplates reads the template file again on a signal and when its content
// changes. A good one takes effect, a bad one is refused whole and the old one
// stays.
func (p *program) watchTemplates(ctx context.Context, reload <-chan os.Signal) {
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload:
			p.known.changed(p.config.TemplatesFile)
		case <-tick.C:
			if !p.known.changed(p.config.TemplatesFile) {
				continue
			}
		}
		p.reload(ctx)
	}
}

func (p *program) reload(ctx context.Context) {
	templates, warnings, err := p.config.templates()
	if err == nil {
		err = p.control.CheckTemplates(ctx, len(templates))
	}
	if err == nil {
		err = p.loop.SetTemplates(templates)
	}
	if err != nil {
		p.log.Error("the template file is refused, the old templates stay", "file", p.config.TemplatesFile, "err", err)
		return
	}
	for _, w := range warnings {
		p.log.Warn(w.String())
	}
	p.log.Info("templates reloaded", "file", p.config.TemplatesFile, "count", len(templates))
}

// stamp tells whether a file changed: by its time and size first, which cost
// nothing, then by its content.
type stamp struct {
	modified time.Time
	size     int64
	digest   [sha256.Size]byte
}

func (s *stamp) changed(path string) bool {
	info, err := os.Stat(path)
	if err != nil || info.ModTime().Equal(s.modified) && info.Size() == s.size {
		return false // one that is gone for a moment is being replaced
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	s.modified, s.size = info.ModTime(), info.Size()
	digest := sha256.Sum256(content)
	changed := digest != s.digest
	s.digest = digest
	return changed
}
