package standalone

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/tokens"
)

// levels are the names that the reference takes, the most talkative first.
var levels = []string{"trace", "debug", "info", "warn", "error", "fatal", "silent"}

func level(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		value = strings.ToLower(value)
		if !slices.Contains(levels, value) {
			return fmt.Errorf("is %q: trace, debug, info, warn, error, fatal or silent is allowed", value)
		}
		*field(c) = value
		return nil
	}
}

// settleLog gives both ends of the log their levels: LOG_LEVEL is the default of
// either, and neither may tell more.
func (c *Config) settleLog() error {
	for _, end := range []struct {
		name  string
		level *string
	}{{"LOG_STDOUT_LEVEL", &c.LogStdoutLevel}, {"LOG_FILE_LEVEL", &c.LogFileLevel}} {
		switch {
		case *end.level == "":
			*end.level = c.LogLevel
		case slices.Index(levels, *end.level) < slices.Index(levels, c.LogLevel):
			return fmt.Errorf("%s is %q: it must not tell more than LOG_LEVEL, which is %s", end.name, *end.level, c.LogLevel)
		}
	}
	return nil
}

// threshold is a level in our log's words.
func threshold(name string) hclog.Level {
	switch name {
	case "fatal":
		return hclog.Error
	case "silent":
		return hclog.Off
	}
	return hclog.LevelFromString(name)
}

// logger opens the log. close flushes nothing: lines are written as they come.
func (c Config) logger(stdout io.Writer) (log hclog.Logger, closeLog func(), err error) {
	options := &hclog.LoggerOptions{Name: "provisioner", Output: clean{stdout}, Level: threshold(c.LogStdoutLevel), JSONFormat: !c.LogPretty}
	if !c.LogStdout {
		options.Output, options.Level = io.Discard, hclog.Off
	}
	both, closeLog := hclog.NewInterceptLogger(options), func() {}
	if c.LogFile != "" {
		f, err := openLog(c.LogFile)
		if err != nil {
			return nil, nil, fmt.Errorf("LOG_FILE: %w", err)
		}
		both.RegisterSink(hclog.NewSinkAdapter(&hclog.LoggerOptions{Output: clean{f}, Level: threshold(c.LogFileLevel), JSONFormat: true}))
		closeLog = func() { _ = f.Close() }
	}
	for _, w := range c.Warnings {
		both.Warn(w)
	}
	return both, closeLog, nil
}

// openLog makes the folders that are missing, and only appends: what a rotation
// cut off stays off.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// clean takes tokens out of what is written: a line of the log is one write.
type clean struct{ io.Writer }

func (c clean) Write(line []byte) (int, error) {
	if _, err := io.WriteString(c.Writer, tokens.Redact(string(line))); err != nil {
		return 0, err
	}
	return len(line), nil
}
