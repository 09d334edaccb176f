package jobs

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/template"
)

// Limits of Spec.
const (
	// MaxNameLength is in characters.
	MaxNameLength = 200
	// MaxScriptBytes bounds Run, and the arguments of Command together.
	MaxScriptBytes = 256 << 10
	// MaxArguments bounds Command.
	MaxArguments = 1024
	// MaxEnv is how many variables there may be.
	MaxEnv = 256
	// MaxEnvBytes bounds names and values together.
	MaxEnvBytes = 128 << 10
	// MaxTimeout bounds Timeout.
	MaxTimeout = 7 * 24 * time.Hour
	// MaxRetries bounds Retries.
	MaxRetries = 10
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)

// normal returns the spec with its defaults, or what is wrong with it.
func (s Spec) normal(timeout time.Duration) (Spec, error) {
	labels, err := template.Canonical(s.Labels)
	if err != nil {
		return s, ledger.Invalid("labels", "are not valid: %s", err)
	}
	s.Labels = labels
	if err := checkWork(s); err != nil {
		return s, err
	}
	if err := checkEnv(s.Env); err != nil {
		return s, err
	}
	switch {
	case s.Timeout < 0 || s.Timeout > MaxTimeout:
		return s, ledger.Invalid("timeout", "is %s: 0 to %s is allowed", s.Timeout, MaxTimeout)
	case s.Timeout == 0:
		s.Timeout = timeout
	case s.Timeout < time.Second:
		return s, ledger.Invalid("timeout", "is %s: a second is the least", s.Timeout)
	}
	if s.Retries < 0 || s.Retries > MaxRetries {
		return s, ledger.Invalid("retries", "is %d: 0 to %d is allowed", s.Retries, MaxRetries)
	}
	if s.Name == "" {
		s.Name = defaultName(s)
	}
	if n := utf8.RuneCountInString(s.Name); n > MaxNameLength || !utf8.ValidString(s.Name) || strings.ContainsAny(s.Name, "\x00\n\r") {
		return s, ledger.Invalid("name", "must be one line of valid UTF-8 with at most %d characters", MaxNameLength)
	}
	return s, nil
}

func checkWork(s Spec) error {
	if (s.Run == "") == (len(s.Command) == 0) {
		return ledger.Invalid("run", "or command is needed: one of the two, not both")
	}
	if len(s.Run) > MaxScriptBytes {
		return ledger.Invalid("run", "is %d bytes: at most %d are allowed", len(s.Run), MaxScriptBytes)
	}
	if strings.ContainsRune(s.Run, 0) || !utf8.ValidString(s.Run) {
		return ledger.Invalid("run", "must be valid UTF-8 without NUL")
	}
	if len(s.Command) > MaxArguments {
		return ledger.Invalid("command", "has %d arguments: at most %d are allowed", len(s.Command), MaxArguments)
	}
	total := 0
	for i, arg := range s.Command {
		if strings.ContainsRune(arg, 0) || !utf8.ValidString(arg) {
			return ledger.Invalid("command", "argument %d must be valid UTF-8 without NUL", i)
		}
		total += len(arg)
	}
	if total > MaxScriptBytes {
		return ledger.Invalid("command", "is %d bytes: at most %d are allowed", total, MaxScriptBytes)
	}
	if len(s.Command) > 0 && s.Command[0] == "" {
		return ledger.Invalid("command", "must name a program first")
	}
	return nil
}

func checkEnv(env map[string]string) error {
	if len(env) > MaxEnv {
		return ledger.Invalid("env", "has %d variables: at most %d are allowed", len(env), MaxEnv)
	}
	total := 0
	for name, value := range env {
		if !envName.MatchString(name) {
			return ledger.Invalid("env", "has the name %.40q: A-Z a-z 0-9 _ are allowed, the first no digit, at most 255", name)
		}
		if strings.ContainsRune(value, 0) || !utf8.ValidString(value) {
			return ledger.Invalid("env", "variable %s must be valid UTF-8 without NUL", name)
		}
		total += len(name) + len(value)
	}
	if total > MaxEnvBytes {
		return ledger.Invalid("env", "is %d bytes: at most %d are allowed", total, MaxEnvBytes)
	}
	return nil
}

// defaultName is the first line of what runs, cut to 60 characters.
func defaultName(s Spec) string {
	text := s.Run
	if text == "" {
		text = strings.Join(s.Command, " ")
	}
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	i := slices.IndexFunc(lines, func(line string) bool { return strings.TrimSpace(line) != "" })
	if i < 0 {
		return "job"
	}
	runes := []rune(strings.TrimSpace(lines[i]))
	if len(runes) > 60 {
		runes = append(runes[:59], '…')
	}
	return string(runes)
}
