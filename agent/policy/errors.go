package policy

import (
	"errors"
	"fmt"
)

// ErrFile: agent.yaml can't be used: not to be read, not sound, or writable by
// others. There is no policy then, and no agent should run without one.
var ErrFile = errors.New("policy")

// Refusal is the error of Review.
type Refusal struct {
	// Rule is the key of agent.yaml that refuses, or a word for what no key allows:
	// field, request, labels, devices, namespaces, security.
	Rule string
	// Detail is what was asked for. It holds nothing of the environment but names.
	Detail string
	// Remedy is what agent.yaml would have to say; empty where nothing would help.
	Remedy string
}

// Error tells rule, detail and remedy on one line.
func (r *Refusal) Error() string {
	remedy := "agent.yaml can't allow it"
	if r.Remedy != "" {
		remedy = "to allow it agent.yaml must say " + r.Remedy
	}
	return fmt.Sprintf("agent policy, rule %s: %s; %s", r.Rule, r.Detail, remedy)
}

// never refuses what no key allows.
func never(rule, format string, args ...any) *Refusal {
	return &Refusal{Rule: rule, Detail: fmt.Sprintf(format, args...)}
}

// unless refuses what agent.yaml could allow by saying remedy.
func unless(rule, remedy, format string, args ...any) *Refusal {
	return &Refusal{Rule: rule, Remedy: remedy, Detail: fmt.Sprintf(format, args...)}
}

// short quotes a hub's text so that it neither breaks a line nor floods a log.
func short(text string) string {
	const most = 128
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("%q", text)
}
