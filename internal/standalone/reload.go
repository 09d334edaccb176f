package standalone

import (
	"context"
	"crypto/sha256"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/provisioner"
)

// reloadInterval is how often the template file is looked at.
const reloadInterval = 2 * time.Second

// watchTemplates reads the template file again on a signal and when its content
// changes. A good one takes effect, a bad one is refused whole and the old one
// stays.
func (c Config) watchTemplates(ctx context.Context, loop *provisioner.Loop, reload <-chan os.Signal, log hclog.Logger) {
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	var known stamp
	known.changed(c.TemplatesFile)
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload:
			known.changed(c.TemplatesFile)
		case <-tick.C:
			if !known.changed(c.TemplatesFile) {
				continue
			}
		}
		c.reload(loop, log)
	}
}

func (c Config) reload(loop *provisioner.Loop, log hclog.Logger) {
	templates, warnings, err := c.templates()
	if err == nil {
		err = loop.SetTemplates(templates)
	}
	if err != nil {
		log.Error("the template file is refused, the old templates stay", "file", c.TemplatesFile, "err", err)
		return
	}
	for _, w := range warnings {
		log.Warn(w.String())
	}
	log.Info("templates reloaded", "file", c.TemplatesFile, "count", len(templates))
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
