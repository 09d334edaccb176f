package standalone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/tokens"
)

func environment(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func TestDefaultsAreThoseOfTheReference(t *testing.T) {
	token := tokens.New(tokens.Provisioner)
	c, err := Load(nil, environment(map[string]string{
		"SHIPFOX_PROVISIONER_TOKEN": token.Reveal(), "SHIPFOX_PROVISIONER_TEMPLATES_FILE": "t.yaml",
	}))
	require.NoError(t, err)
	require.True(t, c.Token.Equal(token))
	c.Token = tokens.Token{}
	require.Equal(t, Config{
		APIURL: "https://api.shipfox.io", RunnerAPIURL: "https://api.shipfox.io", TemplatesFile: "t.yaml",
		Backend: "docker", ProcessDir: "/var/lib/slipway-provisioner", HTTPAddr: "127.0.0.1:9464",
		FailedRetention: time.Hour, FailedRetentionCount: 20, RegistrationDeadline: 2 * time.Minute,
		PollWait: 30 * time.Second, PollInterval: time.Second, PollMaxInterval: 5 * time.Second, ConvergeInterval: time.Second,
		MaxReservations: 250, BatchSize: 250, LaunchParallelism: 16,
		RunnerPollMax: 5 * time.Minute, RunnerMaxLifetime: time.Hour, LogLevel: "info",
	}, c)
}

func TestAllBadOnesAtOnceALineEach(t *testing.T) {
	_, err := Load(map[string]string{"poll-wait-seconds": "soon"}, environment(map[string]string{
		"SHIPFOX_PROVISIONER_TOKEN":              "sf_adm_secret-secret",
		"SHIPFOX_API_URL":                        "api.shipfox.io",
		"SHIPFOX_PROVISIONER_DOCKER_LOG_OPTIONS": `{"a":1}`,
		"SHIPFOX_PROVISIONER_MAX_RESERVATIONS":   "0",
		"SHIPFOX_PROVISIONER_DOCKER_EXTRA_HOSTS": "db",
		"LOG_LEVEL":                              "loud",
		"SLIPWAY_BACKEND":                        "podman",
		"SLIPWAY_HTTP_ADDR":                      "9464",
	}))
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 10, err.Error())
	for _, line := range lines {
		require.Regexp(t, `^(SHIPFOX_|LOG_|SLIPWAY_|--poll-wait-seconds)`, line)
	}
	require.Contains(t, err.Error(), `--poll-wait-seconds is "soon": a whole number from 0 to 31622400 is allowed`)
	require.NotContains(t, err.Error(), "secret-secret")
}

func TestFlagsWinAndTheTokenComesFromAFile(t *testing.T) {
	token := tokens.New(tokens.Provisioner)
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(token.Reveal()+"\n"), 0o600))
	c, err := Load(map[string]string{"log-level": "debug", "templates-file": "f.yaml"}, environment(map[string]string{
		"SHIPFOX_PROVISIONER_TOKEN_FILE": path, "LOG_LEVEL": "error",
		"SHIPFOX_PROVISIONER_MAX_RESERVATIONS": "5000", "SHIPFOX_PROVISIONER_REGISTRATION_TOKEN_BATCH_SIZE": "800",
	}))
	require.NoError(t, err)
	require.True(t, c.Token.Equal(token))
	require.Equal(t, "debug", c.LogLevel)
	require.Equal(t, 1000, c.MaxReservations)
	require.Equal(t, 500, c.BatchSize)
	require.Len(t, c.Warnings, 2, "what is cut is said")

	_, err = Load(nil, environment(map[string]string{"SHIPFOX_PROVISIONER_TOKEN_FILE": path + "x", "SHIPFOX_PROVISIONER_TEMPLATES_FILE": "f"}))
	require.ErrorContains(t, err, "SHIPFOX_PROVISIONER_TOKEN_FILE")
}

func TestLimitsOfTheLoop(t *testing.T) {
	load := func(pairs ...string) Config {
		env := map[string]string{"SHIPFOX_PROVISIONER_TOKEN": tokens.New(tokens.Provisioner).Reveal(), "SHIPFOX_PROVISIONER_TEMPLATES_FILE": "t"}
		for i := 0; i < len(pairs); i += 2 {
			env[pairs[i]] = pairs[i+1]
		}
		c, err := Load(nil, environment(env))
		require.NoError(t, err)
		return c
	}
	l := load().limits()
	require.Equal(t, 2*time.Minute, l.ReservationLifetime)
	require.Equal(t, 150*time.Second, l.RegistrationDeadline, "30 s longer than the reservation")
	require.Equal(t, 2*time.Minute, l.LaunchDeadline, "how long a container may linger that was created and not started")
	require.Equal(t, time.Hour+time.Minute, l.MaxLifetime)
	require.Equal(t, time.Hour, l.FailedRetention)
	require.Equal(t, 20, l.FailedRetentionCount)

	l = load("SHIPFOX_PROVISIONER_DOCKER_FAILED_CONTAINER_RETENTION_MS", "0", "SHIPFOX_PROVISIONER_DOCKER_MAX_RETAINED_FAILED_CONTAINERS", "0",
		"SHIPFOX_PROVISIONER_REGISTRATION_DEADLINE_MS", "1").limits()
	require.Negative(t, l.FailedRetention)
	require.Negative(t, l.FailedRetentionCount)
	require.Equal(t, 30*time.Second, l.LaunchDeadline)

	c := load("SHIPFOX_PROVISIONER_POLL_WAIT_SECONDS", "0", "SHIPFOX_RUNNER_POLL_MAX_DURATION_MS", "0", "LOG_LEVEL", "silent", "LOG_PRETTY", "yes",
		"SHIPFOX_PROVISIONER_RUNNER_INSTANCE_BATCH_SIZE", "7", "SHIPFOX_PROVISIONER_REGISTRATION_TOKEN_BATCH_SIZE", "9", "SLIPWAY_BACKEND", "process", "SLIPWAY_ADOPT_OWNER", "x")
	require.Equal(t, time.Second, c.PollWait)
	require.Negative(t, c.RunnerPollMax, "for ever")
	require.Equal(t, "off", c.LogLevel)
	require.True(t, c.LogPretty)
	require.Equal(t, 7, c.BatchSize, "the newer name wins")
	require.Len(t, c.Warnings, 3)
	require.Equal(t, 30*time.Second, load("SHIPFOX_PROVISIONER_POLL_WAIT_SECONDS", "120").PollWait)
}

// Options of log drivers hold credentials: an error does not show them.
func TestLogOptionsAreNotShown(t *testing.T) {
	_, err := Load(nil, environment(map[string]string{
		"SHIPFOX_PROVISIONER_TOKEN": tokens.New(tokens.Provisioner).Reveal(), "SHIPFOX_PROVISIONER_TEMPLATES_FILE": "t",
		"SHIPFOX_PROVISIONER_DOCKER_LOG_DRIVER": "splunk", "SHIPFOX_PROVISIONER_DOCKER_LOG_OPTIONS": `{"splunk-token":"canary"`,
		"SHIPFOX_PROVISIONER_DOCKER_HOST": "/var/run/docker.sock",
	}))
	require.ErrorContains(t, err, "SHIPFOX_PROVISIONER_DOCKER_LOG_OPTIONS")
	require.NotContains(t, err.Error(), "canary")
	require.ErrorContains(t, err, `SHIPFOX_PROVISIONER_DOCKER_HOST is "/var/run/docker.sock"`)
}
