// Package doctor looks at what a hub and its runners need: the hub, the clock,
// the disk, the Docker engine, and the way from inside a container to the hub.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/internal/cli/command"
)

// Result is how a check ended.
type Result string

// The results.
const (
	OK   Result = "ok"
	Warn Result = "warn"
	Fail Result = "fail"
	Skip Result = "skip"
)

// Finding is what one check found.
type Finding struct {
	Check  string `json:"check"`
	Result Result `json:"result"`
	// Detail says what was seen, and what to do about it.
	Detail string `json:"detail"`
}

// Config says what to look at.
type Config struct {
	// URL of the hub, and an admin token for it, which may be empty.
	URL, Token string
	// Transport is how the hub is reached; nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Asked says that somebody named the hub: then it must answer.
	Asked bool
	// Image to look from inside of; it is not pulled.
	Image string
	// Dir is a folder whose disk is looked at where no hub tells its own.
	Dir string
	// Patience is how long a hub or an engine may take to answer; default 10 s. A
	// container may take six times that, and as long again to go.
	Patience time.Duration
	// Found is told of each finding as it is made; nil: nobody is.
	Found func(Finding)
}

// visit is one examination: what a check learnt is there for those after it.
type visit struct {
	config   Config
	http     *http.Client
	info     *info // of the hub, when it told
	date     time.Time
	asked    time.Time
	hubUp    bool
	engineUp bool
}

// Examine does every check, in order.
func Examine(ctx context.Context, config Config) []Finding {
	config.Patience = cmp.Or(config.Patience, 10*time.Second)
	if config.Found == nil {
		config.Found = func(Finding) {}
	}
	v := &visit{config: config, http: &http.Client{Transport: config.Transport}}
	var findings []Finding
	for _, check := range []struct {
		name     string
		patience time.Duration
		do       func(*visit, context.Context) (Result, string)
	}{
		{"hub", config.Patience, (*visit).hub},
		{"clock", config.Patience, (*visit).clock},
		{"disk", config.Patience, (*visit).disk},
		{"engine", config.Patience, (*visit).engine},
		{"way", 6 * config.Patience, (*visit).way},
	} {
		own, cancel := context.WithTimeout(ctx, check.patience)
		result, detail := check.do(v, own)
		cancel()
		f := Finding{check.name, result, command.Printable(detail)}
		config.Found(f)
		findings = append(findings, f)
	}
	return findings
}

// Print writes a finding for people, as a line.
func Print(w io.Writer, f Finding) error {
	_, err := fmt.Fprintf(w, "%-4s  %-6s  %s\n", f.Result, f.Check, f.Detail)
	return err
}
