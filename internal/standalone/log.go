package standalone

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/internal/logsink"
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

// logger opens the log, and its file, which is nil where there is none. Lines are
// written as they come: closing flushes nothing.
func (c Config) logger(stdout io.Writer) (hclog.Logger, *logFile, error) {
	options := &hclog.LoggerOptions{Name: "provisioner", Output: logsink.Clean(stdout), Level: threshold(c.LogStdoutLevel), JSONFormat: !c.LogPretty}
	if !c.LogStdout {
		options.Output, options.Level = io.Discard, hclog.Off
	}
	both := hclog.NewInterceptLogger(options)
	var file *logFile
	if c.LogFile != "" {
		file = &logFile{path: c.LogFile}
		if err := file.reopen(); err != nil {
			return nil, nil, fmt.Errorf("LOG_FILE: %w", err)
		}
		both.RegisterSink(hclog.NewSinkAdapter(&hclog.LoggerOptions{Output: logsink.Clean(file), Level: threshold(c.LogFileLevel), JSONFormat: true}))
	}
	for _, w := range c.Warnings {
		both.Warn(w)
	}
	return both, file, nil
}
