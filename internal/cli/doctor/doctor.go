// Package doctor looks at what a hub and its runners need: the hub, the clock,
// the disk, the Docker engine, and the way from inside a container to the hub.
package doctor

import (
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
	// Asked says that somebody named the hub: then it must answer.
	Asked bool
	// Image to look from inside of; it is not pulled.
	Image string
	// Dir is a folder whose disk is looked at where no hub tells its own.
	Dir string
}

// patience bounds one check.
const patience = time.Minute

// visit is one examination: what a check learnt is there for those after it.
type visit struct {
	config Config
	http   *http.Client
	info   *info // of the hub, when it told
	date   time.Time
	asked  time.Time
	hubUp  bool
}

// Examine does every check, in order.
func Examine(ctx context.Context, config Config) []Finding {
	v := &visit{config: config, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	var findings []Finding
	for _, check := range []struct {
		name string
		do   func(*visit, context.Context) (Result, string)
	}{
		{"hub", (*visit).hub},
		{"clock", (*visit).clock},
		{"disk", (*visit).disk},
		{"engine", (*visit).engine},
		{"way", (*visit).way},
	} {
		own, cancel := context.WithTimeout(ctx, patience)
		result, detail := check.do(v, own)
		cancel()
		findings = append(findings, Finding{check.name, result, command.Printable(detail)})
	}
	return findings
}

// Print writes findings for people.
func Print(w io.Writer, findings []Finding) error {
	for _, f := range findings {
		if _, err := fmt.Fprintf(w, "%-4s  %-6s  %s\n", f.Result, f.Check, f.Detail); err != nil {
			return err
		}
	}
	return nil
}
