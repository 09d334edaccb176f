package provisioner

import (
	"fmt"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/template"
)

// BenchmarkPass20000 is one reconciling pass over 20,000 live runners of ten
// templates: what a list tells is taken in, and a decision is made of it.
func BenchmarkPass20000(b *testing.B) {
	const runners, kinds = 20_000, 10
	config := Config{}
	for i := range kinds {
		config.Templates = append(config.Templates, template.Template{Key: fmt.Sprint("t", i), Labels: []string{fmt.Sprint("l", i)}, MaxConcurrency: runners})
	}
	config = config.withDefaults()
	now := time.Now()
	l := newLedger(config, now)
	listing := backend.Listing{Began: now}
	for i := range runners {
		listing.Runners = append(listing.Runners, backend.Runner{
			ID: newID(now), State: backend.Running, Host: fmt.Sprint("host-", i%1000),
			Labels: map[string]string{LabelTemplate: fmt.Sprint("t", i%kinds), LabelMaxLifetime: "1h0m0s"},
		})
	}
	l.listed(now, now, listing, nil)
	for b.Loop() {
		now = now.Add(time.Millisecond)
		listing.Began = now
		l.listed(now, now, listing, nil)
		if len(Plan(l.snapshot(now))) == 0 {
			b.Fatal("nothing to do, not even to wait")
		}
	}
}
