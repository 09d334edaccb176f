package standalone

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
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
		RunnerPollMax: 5 * time.Minute, RunnerMaxLifetime: time.Hour, StopGrace: -1,
		DefaultImage: "ghcr.io/shipfoxhq/runner:latest",
		LogLevel:     "info", LogStdout: true, LogStdoutLevel: "info", LogFileLevel: "info",
	}, c)
}

func TestAllBadOnesAtOnceALineEach(t *testing.T) {
	_, err := Load(map[string]string{"poll-wait-seconds": "soon"}, environment(map[string]string{
		"SHIPFOX_PROVISIONER_TOKEN":              "sf_adm_secret-secret",
		"SHIPFOX_API_URL":                        "api.shipfox.io",
		"SHIPFOX_RUNNER_API_URL":                 "https://user:secret-secret@api.shipfox.io/?a=secret-secret",
		"SHIPFOX_PROVISIONER_DOCKER_LOG_OPTIONS": `{"a":1}`,
		"SHIPFOX_PROVISIONER_MAX_RESERVATIONS":   "-1",
		"SHIPFOX_PROVISIONER_POLL_INTERVAL_MS":   "0",
		"SHIPFOX_RUNNER_POLL_MAX_DURATION_MS":    "30s",
		"LOG_STDOUT":                             "maybe",
		"SHIPFOX_PROVISIONER_DOCKER_EXTRA_HOSTS": "db",
		"LOG_LEVEL":                              "loud",
		"SLIPWAY_BACKEND":                        "podman",
		"SLIPWAY_HTTP_ADDR":                      "127.0.0.1:99999",
	}))
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 14, err.Error())
	for _, line := range lines {
		require.Regexp(t, `^(SHIPFOX_|LOG_|SLIPWAY_|--poll-wait-seconds)`, line)
	}
	require.Contains(t, err.Error(), `SHIPFOX_RUNNER_API_URL is "https://…@api.shipfox.io/?…": an http or https address is needed, without user info, query and fragment`)
	require.Contains(t, err.Error(), `SLIPWAY_HTTP_ADDR is "127.0.0.1:99999": host:port or off is needed, the host an address, a name or empty, the port a number from 0 to 65535`)
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

// loaded is what the settings say, with those two that must be set.
func loaded(t *testing.T, pairs ...string) Config {
	t.Helper()
	c, err := Load(nil, environment(with(map[string]string{
		"SHIPFOX_PROVISIONER_TOKEN": tokens.New(tokens.Provisioner).Reveal(), "SHIPFOX_PROVISIONER_TEMPLATES_FILE": "t",
	}, pairs...)))
	require.NoError(t, err)
	return c
}

// What the reference reads it reads in the way of its language: those forms work
// here too.
func TestNumbersAndListsAsTheReferenceReadsThem(t *testing.T) {
	c := loaded(t, "SHIPFOX_PROVISIONER_POLL_WAIT_SECONDS", "20.0", "SHIPFOX_PROVISIONER_POLL_INTERVAL_MS", "1e3", "SHIPFOX_PROVISIONER_POLL_MAX_INTERVAL_MS", " 2500.5 ",
		"SHIPFOX_PROVISIONER_CONVERGE_INTERVAL_MS", "0.5", "SHIPFOX_PROVISIONER_MAX_RESERVATIONS", "0", "SHIPFOX_RUNNER_POLL_MAX_DURATION_MS", "0.5",
		"SHIPFOX_PROVISIONER_DOCKER_EXTRA_HOSTS", " a:10.0.0.1, ,b:host-gateway,", "SHIPFOX_PROVISIONER_DOCKER_LOG_DRIVER", " journald ")
	require.Equal(t, 20*time.Second, c.PollWait)
	require.Equal(t, time.Second, c.PollInterval)
	require.Equal(t, 2500*time.Millisecond+500*time.Microsecond, c.PollMaxInterval)
	require.Equal(t, 500*time.Microsecond, c.ConvergeInterval)
	require.Zero(t, c.MaxReservations)
	require.Equal(t, time.Millisecond, c.RunnerPollMax, "0 would be for ever")
	require.Equal(t, []string{"a:10.0.0.1", "b:host-gateway"}, c.DockerExtraHosts)
	require.Equal(t, "journald", c.DockerLogDriver)

	// A self-hosted service may have its own word in the tokens.
	plain := tokens.New(tokens.Provisioner).Reveal()
	marked, err := Load(nil, environment(map[string]string{
		"SHIPFOX_PROVISIONER_TOKEN": strings.Replace(plain, "sf_pt_", "sf_stage_pt_", 1), "SHIPFOX_PROVISIONER_TEMPLATES_FILE": "t",
	}))
	require.NoError(t, err)
	require.Equal(t, tokens.Provisioner, marked.Token.Kind())

	for name, value := range map[string]string{
		"SHIPFOX_PROVISIONER_MAX_RESERVATIONS": "10.5", "SHIPFOX_PROVISIONER_POLL_WAIT_SECONDS": "NaN", "SHIPFOX_PROVISIONER_REGISTRATION_DEADLINE_MS": "0",
		"SHIPFOX_PROVISIONER_RUNNER_INSTANCE_BATCH_SIZE": "0", "SHIPFOX_PROVISIONER_POLL_INTERVAL_MS": "Infinity", "SHIPFOX_RUNNER_POLL_MAX_DURATION_MS": "-1",
		"SHIPFOX_RUNNER_MAX_LIFETIME_SECONDS": "0", "SHIPFOX_PROVISIONER_DOCKER_MAX_RETAINED_FAILED_CONTAINERS": "1.5",
	} {
		_, err := Load(nil, environment(map[string]string{"SHIPFOX_PROVISIONER_TOKEN": plain, "SHIPFOX_PROVISIONER_TEMPLATES_FILE": "t", name: value}))
		require.ErrorContains(t, err, name)
	}
}

func TestAddressesOfTheHealthRoutes(t *testing.T) {
	for _, good := range []string{"off", ":0", ":65535", "127.0.0.1:9464", "[::1]:1", "[fe80::1%eth0]:1", "localhost:1", "metrics_1.ci-2.example.:80"} {
		require.Equal(t, good, loaded(t, "SLIPWAY_HTTP_ADDR", good).HTTPAddr)
	}
	for _, bad := range []string{"9464", "127.0.0.1", ":", ":abc", ":-1", ":+1", ":65536", ":http", "::1:1", "256.1.1.1:1", "1.2.3:1", "a b:1", "a..b:1", "-a:1", "http://a:1", "a/b:1", "[a]b:1", "None"} {
		_, err := Load(nil, environment(map[string]string{"SLIPWAY_HTTP_ADDR": bad}))
		require.ErrorContains(t, err, fmt.Sprintf("SLIPWAY_HTTP_ADDR is %q: ", bad))
	}
}

// The reference takes no maximum below the interval, its default included.
func TestTheMaximumIsNotBelowTheInterval(t *testing.T) {
	for interval, most := range map[string]string{"6000": "", "2000": "1000"} {
		_, err := Load(nil, environment(map[string]string{"SHIPFOX_PROVISIONER_POLL_INTERVAL_MS": interval, "SHIPFOX_PROVISIONER_POLL_MAX_INTERVAL_MS": most}))
		require.ErrorContains(t, err, "SHIPFOX_PROVISIONER_POLL_MAX_INTERVAL_MS is "+cmp.Or(most, "5000")+": it must not be below SHIPFOX_PROVISIONER_POLL_INTERVAL_MS, which is "+interval)
	}
	require.Equal(t, 7*time.Second, loaded(t, "SHIPFOX_PROVISIONER_POLL_INTERVAL_MS", "7000", "SHIPFOX_PROVISIONER_POLL_MAX_INTERVAL_MS", "7000").PollMaxInterval)
}

// A rotation renames the file: from the next signal on the new one is written. What
// can't be opened leaves the old one.
func TestTheLogFileIsOpenedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "log")
	log, file, err := loaded(t, "LOG_FILE", path, "LOG_STDOUT", "false").logger(io.Discard)
	require.NoError(t, err)
	signals := make(chan os.Signal)
	again, stop := reloads(signals, log, file)
	hangUp := func() {
		signals <- syscall.SIGHUP
		<-again // by now the file is open
	}
	holds := func(path string, want ...string) {
		t.Helper()
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var got []string
		for line := range strings.Lines(string(text)) {
			var entry struct {
				Message string `json:"@message"`
			}
			require.NoError(t, json.Unmarshal([]byte(line), &entry))
			got = append(got, entry.Message)
		}
		require.Equal(t, want, got)
	}
	log.Info("one")
	require.NoError(t, os.Rename(path, path+".1"))
	log.Info("two")
	hangUp()
	log.Info("three")
	holds(path+".1", "one", "two")
	holds(path, "three")

	require.NoError(t, os.Rename(filepath.Dir(path), filepath.Dir(path)+".old"))
	require.NoError(t, os.WriteFile(filepath.Dir(path), nil, 0o600)) // no folder can be made there
	hangUp()
	log.Info("four")
	holds(filepath.Join(filepath.Dir(path)+".old", "log"), "three", "the log file can't be opened anew, the old one is written on", "four")
	stop()
	require.NoError(t, file.Close())

	// Without a log file a signal is for the templates alone.
	log, file, err = loaded(t, "LOG_STDOUT", "false").logger(io.Discard)
	require.NoError(t, err)
	again, stop = reloads(signals, log, file)
	hangUp()
	stop()
	require.NoError(t, file.Close())
}

func TestAnEngineOverHTTPS(t *testing.T) {
	c := loaded(t, "SHIPFOX_PROVISIONER_DOCKER_HOST", "https://engine:2376", "DOCKER_CERT_PATH", "/certs")
	require.Equal(t, "/certs", c.engine("me", "head", hclog.NewNullLogger()).CertPath)
	require.Empty(t, loaded(t, "SHIPFOX_PROVISIONER_DOCKER_HOST", "tcp://engine:2375", "DOCKER_CERT_PATH", "/certs").DockerCertPath)
	_, err := Load(nil, environment(map[string]string{"SHIPFOX_PROVISIONER_DOCKER_HOST": "https://engine:2376"}))
	require.ErrorContains(t, err, "https needs DOCKER_CERT_PATH")
}

// Containers are made as the reference makes them, unless they are to be isolated.
func TestHowContainersAreMade(t *testing.T) {
	d := loaded(t).engine("me", "head", hclog.NewNullLogger())
	require.Equal(t, "default", d.Network, "the engine's own choice")
	require.Equal(t, []string{}, d.ExtraHosts, "none")
	require.Equal(t, int64(-1), d.PidsLimit)
	require.Negative(t, d.StopGrace, "what is to go is killed")
	require.Empty(t, d.LogDriver)
	require.NotNil(t, d.LogOptions, "the engine's own log driver")

	d = loaded(t, "SLIPWAY_ISOLATE_RUNNERS", "true", "SLIPWAY_STOP_GRACE_SECONDS", "7").engine("me", "head", hclog.NewNullLogger())
	require.Empty(t, d.Network, "one of the owner's")
	require.Zero(t, d.PidsLimit, "the backend's bound")
	require.Equal(t, 7*time.Second, d.StopGrace)
	d = loaded(t, "SLIPWAY_ISOLATE_RUNNERS", "true", "SHIPFOX_PROVISIONER_DOCKER_NETWORK", "ci").engine("me", "head", hclog.NewNullLogger())
	require.Equal(t, "ci", d.Network)
}

// sudo works in runners, as the reference's image has it, unless the file or the
// operator says otherwise.
func TestPrivilegesOfTemplates(t *testing.T) {
	const body = "labels: [a], cpu: 1, memory: 1g, max_concurrency: 1"
	open := func(text string, pairs ...string) map[string]bool {
		c := loaded(t, append(pairs, "SHIPFOX_PROVISIONER_TEMPLATES_FILE", templates(t, text))...)
		list, _, err := c.templates()
		require.NoError(t, err)
		open := map[string]bool{}
		for _, one := range list {
			require.Equal(t, "ghcr.io/shipfoxhq/runner:latest", one.Image, "the reference's default")
			open[one.Key] = one.AllowNewPrivileges
		}
		return open
	}
	const three = "templates:\n  plain: {" + body + "}\n  shut: {" + body + ", no_new_privileges: true}\n  open: {" + body + ", no_new_privileges: false}\n"
	require.Equal(t, map[string]bool{"plain": true, "shut": false, "open": true}, open(three))
	require.Equal(t, map[string]bool{"plain": false, "shut": false, "open": true}, open(three, "SLIPWAY_ISOLATE_RUNNERS", "true"))
	require.Equal(t, map[string]bool{"plain": true, "shut": false, "open": true}, open("defaults: {env: {A: b}}\n"+three))
	require.Equal(t, map[string]bool{"plain": true, "shut": false, "open": true}, open("defaults: {}\n"+three))
	require.Equal(t, map[string]bool{"plain": false, "shut": false, "open": true}, open("defaults: {no_new_privileges: true}\n"+three))
	require.Equal(t, map[string]bool{"plain": false, "shut": false, "open": true}, open("vars: {base: &b {no_new_privileges: true}}\ndefaults: {<<: *b}\n"+three))
	require.Equal(t, map[string]bool{"plain": true, "shut": false, "open": true}, open("vars: {base: &b {env: {A: b}}}\ndefaults: *b\n"+three))
	require.Equal(t, map[string]bool{"plain": true}, open("{templates: {plain: {"+body+"}}}"))
	require.Equal(t, map[string]bool{"m-1": true, "m-2": false}, open("matrix:\n  m:\n    axes: {n: [1, 2]}\n    template: {labels: ['l${{ n }}'], cpu: '${{ n }}', memory: '${{ n * 2.0 }}GiB', max_concurrency: 1, no_new_privileges: '${{ n == 2.0 }}'}\n"))

	c := loaded(t, "SLIPWAY_DEFAULT_IMAGE", "none", "SHIPFOX_PROVISIONER_TEMPLATES_FILE", templates(t, three))
	_, _, err := c.templates()
	require.ErrorContains(t, err, "has no image")
}

func TestLevelsOfTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "that", "is", "missing", "log")
	var out strings.Builder
	c := loaded(t, "LOG_LEVEL", "debug", "LOG_STDOUT_LEVEL", "warn", "LOG_FILE", path, "LOG_PRETTY", "true")
	log, done, err := c.logger(&out)
	require.NoError(t, err)
	secret := tokens.New(tokens.Bootstrap).Reveal()
	log.Named("part").With("k", "v").Debug("quiet " + secret)
	log.Error("loud")
	require.NoError(t, done.Close())
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(written), `"@message":"quiet `)
	require.Contains(t, string(written), `"k":"v"`)
	require.Contains(t, string(written), `"@message":"loud"`, "the file is JSON whatever standard output is")
	require.NotContains(t, string(written), secret[10:])
	require.Contains(t, out.String(), "[ERROR] provisioner: loud")
	require.NotContains(t, out.String(), "quiet")

	out.Reset()
	log, done, err = loaded(t, "LOG_STDOUT", "false").logger(&out)
	require.NoError(t, err)
	log.Error("unheard")
	require.NoError(t, done.Close())
	require.Empty(t, out.String())

	_, err = Load(nil, environment(map[string]string{"LOG_STDOUT_LEVEL": "debug"}))
	require.ErrorContains(t, err, `LOG_STDOUT_LEVEL is "debug": it must not tell more than LOG_LEVEL, which is info`)
}

// A runner has at least 30 s longer than its reservation, whatever its template says.
func TestDeadlinesOfTemplatesAreLongEnough(t *testing.T) {
	const text = "templates:\n  short: {labels: [a], cpu: 1, memory: 1g, max_concurrency: 1, registration_deadline: 149s}\n" +
		"  long: {labels: [a], cpu: 1, memory: 1g, max_concurrency: 1, registration_deadline: 151s}\n  none: {labels: [a], cpu: 1, memory: 1g, max_concurrency: 1}\n"
	list, warnings, err := loaded(t, "SHIPFOX_PROVISIONER_TEMPLATES_FILE", templates(t, text)).templates()
	require.NoError(t, err)
	deadlines := map[string]time.Duration{}
	for _, one := range list {
		deadlines[one.Key] = one.RegistrationDeadline
	}
	require.Equal(t, map[string]time.Duration{"short": 150 * time.Second, "long": 151 * time.Second, "none": 0}, deadlines)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0].String(), `template "short": registration_deadline is 2m29s: taken for 2m30s`)
}

func TestLimitsOfTheLoop(t *testing.T) {
	load := func(pairs ...string) Config { return loaded(t, pairs...) }
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
	require.Equal(t, "silent", c.LogLevel)
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
