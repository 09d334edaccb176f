package standalone

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/provisioner/shipfox"
	"github.com/slipway-ci/slipway/tokens"
)

// setting is one variable, and the flag that wins over it.
type setting struct {
	env, flag string
	value     string // default
	what      string
	set       func(c *Config, text string) error // not called for an empty text without a default
	required  bool
}

const (
	maxReservations = 1000
	maxBatch        = 500
)

// settings are all of them, in the order of the documentation. Those that begin
// with SHIPFOX_ and LOG_ have the names, defaults and meaning that they have for
// @shipfox/provisioner-docker.
var settings = []setting{
	{env: "SHIPFOX_API_URL", flag: "api-url", value: "https://api.shipfox.io", what: "base URL of the Shipfox API; a path prefix is kept; no user info, query or fragment",
		set: address(func(c *Config) *string { return &c.APIURL })},
	{env: "SHIPFOX_RUNNER_API_URL", flag: "runner-api-url", what: "base URL that runners are given; default the API's own",
		set: address(func(c *Config) *string { return &c.RunnerAPIURL })},
	{env: "SHIPFOX_PROVISIONER_TOKEN", what: "the provisioner token, sf_pt_…; or, better, a file that holds it in SHIPFOX_PROVISIONER_TOKEN_FILE", required: true, set: setToken},
	{env: "SHIPFOX_PROVISIONER_TEMPLATES_FILE", flag: "templates-file", what: "the template file", required: true,
		set: text(func(c *Config) *string { return &c.TemplatesFile })},
	{env: "SHIPFOX_PROVISIONER_DOCKER_HOST", flag: "docker-host", what: "the engine: unix://, tcp://, https:// (needs DOCKER_CERT_PATH) or ssh://; default DOCKER_HOST, then the local socket", set: setDockerHost},
	{env: "SHIPFOX_PROVISIONER_DOCKER_NETWORK", flag: "docker-network", what: "network of runners; unset: the engine's default",
		set: text(func(c *Config) *string { return &c.DockerNetwork })},
	{env: "SHIPFOX_PROVISIONER_DOCKER_EXTRA_HOSTS", flag: "docker-extra-hosts", what: "name:address pairs for /etc/hosts of runners, separated by commas; unset: none", set: setExtraHosts},
	{env: "SHIPFOX_PROVISIONER_DOCKER_LOG_DRIVER", flag: "docker-log-driver", what: "log driver of the containers; unset: the engine's default",
		set: trimmed(func(c *Config) *string { return &c.DockerLogDriver })},
	{env: "SHIPFOX_PROVISIONER_DOCKER_LOG_OPTIONS", flag: "docker-log-options", what: "options of the log driver: a JSON object of strings; needs the driver", set: setLogOptions},
	{env: "SHIPFOX_PROVISIONER_DOCKER_FAILED_CONTAINER_RETENTION_MS", flag: "failed-container-retention-ms", value: "3600000", what: "how long failed containers are kept; 0: not at all",
		set: milliseconds(0, func(c *Config) *time.Duration { return &c.FailedRetention })},
	{env: "SHIPFOX_PROVISIONER_DOCKER_MAX_RETAINED_FAILED_CONTAINERS", flag: "max-retained-failed-containers", value: "20", what: "how many of them are kept; 0: none",
		set: number(0, 100000, func(c *Config) *int { return &c.FailedRetentionCount })},
	{env: "SHIPFOX_PROVISIONER_REGISTRATION_DEADLINE_MS", flag: "registration-deadline-ms", value: "120000", what: "how long a reservation is asked for; 30 s later a runner that never registered is ended",
		set: milliseconds(1, func(c *Config) *time.Duration { return &c.RegistrationDeadline })},
	{env: "SHIPFOX_PROVISIONER_POLL_WAIT_SECONDS", flag: "poll-wait-seconds", value: "30", what: "how long a poll waits for demand; above 30 is cut, 0 becomes 1", set: setPollWait},
	{env: "SHIPFOX_PROVISIONER_POLL_INTERVAL_MS", flag: "poll-interval-ms", value: "1000", what: "pause after a poll that came back at once and empty",
		set: interval(func(c *Config) *time.Duration { return &c.PollInterval })},
	{env: "SHIPFOX_PROVISIONER_POLL_MAX_INTERVAL_MS", flag: "poll-max-interval-ms", value: "5000", what: "what that pause grows to; not below it",
		set: interval(func(c *Config) *time.Duration { return &c.PollMaxInterval })},
	{env: "SHIPFOX_PROVISIONER_CONVERGE_INTERVAL_MS", flag: "converge-interval-ms", value: "1000", what: "how often the engine is listed while it tells no events; else it is listed on its events and every 20 s",
		set: interval(func(c *Config) *time.Duration { return &c.ConvergeInterval })},
	{env: "SHIPFOX_PROVISIONER_MAX_RESERVATIONS", flag: "max-reservations", value: "250", what: "runners that one poll may ask for; above 1000 is cut, 0: no job is taken", set: setMaxReservations},
	{env: "SHIPFOX_PROVISIONER_RUNNER_INSTANCE_BATCH_SIZE", flag: "runner-instance-batch-size", value: "250", what: "runners of one mint; above 500 is cut", set: setBatch},
	{env: "SHIPFOX_PROVISIONER_REGISTRATION_TOKEN_BATCH_SIZE", flag: "registration-token-batch-size", what: "the same, under its older name; the newer one wins", set: setOldBatch},
	{env: "SHIPFOX_RUNNER_POLL_MAX_DURATION_MS", flag: "runner-poll-max-duration-ms", value: "300000", what: "how long a runner waits for its job; 0: for ever", set: setRunnerPollMax},
	{env: "SHIPFOX_RUNNER_MAX_LIFETIME_SECONDS", flag: "runner-max-lifetime-seconds", value: "3600", what: "how long a runner lives; it is removed 60 s after", set: setMaxLifetime},
	{env: "LOG_LEVEL", flag: "log-level", value: "info", what: "trace, debug, info, warn, error, fatal or silent",
		set: level(func(c *Config) *string { return &c.LogLevel })},
	{env: "LOG_STDOUT", flag: "log-stdout", value: "true", what: "whether the log goes to standard output",
		set: boolean(func(c *Config) *bool { return &c.LogStdout })},
	{env: "LOG_STDOUT_LEVEL", flag: "log-stdout-level", what: "level of standard output, not below LOG_LEVEL, which is the default",
		set: level(func(c *Config) *string { return &c.LogStdoutLevel })},
	{env: "LOG_PRETTY", flag: "log-pretty", value: "false", what: "true: lines for people on standard output; false: JSON",
		set: boolean(func(c *Config) *bool { return &c.LogPretty })},
	{env: "LOG_FILE", flag: "log-file", what: "file that the log is appended to as well, as JSON; SIGHUP opens it anew; unset: none",
		set: text(func(c *Config) *string { return &c.LogFile })},
	{env: "LOG_FILE_LEVEL", flag: "log-file-level", what: "level of that file, not below LOG_LEVEL, which is the default",
		set: level(func(c *Config) *string { return &c.LogFileLevel })},
	{env: "SLIPWAY_BACKEND", flag: "backend", value: "docker", what: "docker or process; process isolates nothing", set: setBackend},
	{env: "SLIPWAY_PROCESS_DIR", flag: "process-dir", value: "/var/lib/slipway-provisioner", what: "folder of the process backend",
		set: text(func(c *Config) *string { return &c.ProcessDir })},
	{env: "SLIPWAY_ISOLATE_RUNNERS", flag: "isolate-runners", value: "false", what: "true: a network of their own without traffic between them, no new privileges, at most 4096 processes",
		set: boolean(func(c *Config) *bool { return &c.Isolate })},
	{env: "SLIPWAY_STOP_GRACE_SECONDS", flag: "stop-grace-seconds", value: "0", what: "how long a runner that is removed while it runs has between SIGTERM and being killed; 0: it is killed at once",
		set: setStopGrace},
	{env: "SLIPWAY_DEFAULT_IMAGE", flag: "default-image", value: "ghcr.io/shipfoxhq/runner:latest", what: "image of templates that name none; none: they must",
		set: text(func(c *Config) *string { return &c.DefaultImage })},
	{env: "SLIPWAY_ALLOWED_BINDS", flag: "allowed-binds", what: "folders below which templates may bind, separated by commas; unset: none", set: setBinds},
	{env: "SLIPWAY_ADOPT_OWNER", flag: "adopt-owner", what: "id of a former provisioner token, whose containers are taken over",
		set: text(func(c *Config) *string { return &c.AdoptOwner })},
	{env: "SLIPWAY_LAUNCH_PARALLELISM", flag: "launch-parallelism", value: "16", what: "launches under way at once",
		set: number(1, 1000, func(c *Config) *int { return &c.LaunchParallelism })},
	{env: "SLIPWAY_HTTP_ADDR", flag: "http-addr", value: "127.0.0.1:9464", what: "address of /healthz, /readyz, /metrics and /debug/state; off: none", set: setHTTPAddr},
}

// Load reads the settings: a flag wins over its variable, a variable over the
// default. Every bad one is part of the error, a line each.
func Load(flags map[string]string, getenv func(string) string) (Config, error) {
	var (
		c    Config
		errs []error
	)
	for _, s := range settings {
		name, value, given := s.env, getenv(s.env), false
		if s.env == "SHIPFOX_PROVISIONER_TOKEN" && value == "" {
			var err error
			if name, value, err = tokenFile(getenv); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		if flag, ok := flags[s.flag]; ok && s.flag != "" {
			name, value = "--"+s.flag, flag
		}
		given = value != ""
		if s.env == "SLIPWAY_HTTP_ADDR" {
			c.httpAddrGiven = given
		}
		switch {
		case value == "" && s.required:
			errs = append(errs, fmt.Errorf("%s is not set: %s", name, s.what))
			continue
		case value == "" && s.value == "":
			continue
		case value == "":
			value = s.value
		}
		if err := s.set(&c, value); err != nil {
			errs = append(errs, fmt.Errorf("%s %w", name, err))
			continue
		}
		if s.env == "SHIPFOX_PROVISIONER_RUNNER_INSTANCE_BATCH_SIZE" {
			c.batchGiven = given
		}
	}
	if c.RunnerAPIURL == "" {
		c.RunnerAPIURL = c.APIURL
	}
	if c.DefaultImage == "none" {
		c.DefaultImage = ""
	}
	errs = append(errs, c.settleLog(), c.settleTLS(getenv))
	if len(c.DockerLogOptions) > 0 && c.DockerLogDriver == "" {
		errs = append(errs, errors.New("SHIPFOX_PROVISIONER_DOCKER_LOG_OPTIONS is set without SHIPFOX_PROVISIONER_DOCKER_LOG_DRIVER: options belong to a driver"))
	}
	if c.PollMaxInterval > 0 && c.PollMaxInterval < c.PollInterval {
		errs = append(errs, fmt.Errorf("SHIPFOX_PROVISIONER_POLL_MAX_INTERVAL_MS is %d: it must not be below SHIPFOX_PROVISIONER_POLL_INTERVAL_MS, which is %d", c.PollMaxInterval.Milliseconds(), c.PollInterval.Milliseconds()))
	}
	if c.Backend == "process" && c.AdoptOwner != "" {
		c.Warnings = append(c.Warnings, "SLIPWAY_ADOPT_OWNER is passed over: it is for containers, and the backend is process")
	}
	return c, errors.Join(errs...)
}

func tokenFile(getenv func(string) string) (name, value string, err error) {
	const variable = "SHIPFOX_PROVISIONER_TOKEN_FILE"
	path := getenv(variable)
	if path == "" {
		return "SHIPFOX_PROVISIONER_TOKEN", "", nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return variable, "", fmt.Errorf("%s: %w", variable, err)
	}
	return variable, strings.TrimSpace(string(content)), nil
}

func setToken(c *Config, value string) error {
	token, err := tokens.Parse(value)
	if err != nil || token.Kind() != tokens.Provisioner {
		return errors.New("is no provisioner token: one that begins with sf_pt_ is needed")
	}
	c.Token = token
	return nil
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		*field(c) = value
		return nil
	}
}

func trimmed(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error { return text(field)(c, strings.TrimSpace(value)) }
}

func address(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		*field(c) = value
		return shipfox.CheckURL(value)
	}
}

// amount reads a number as the reference does: 1e3, 30.0 and blanks around it
// are fine.
func amount(value string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

func whole(value string, least, most int) (int, error) {
	f, ok := amount(value)
	if !ok || f != math.Trunc(f) || f < float64(least) || f > float64(most) {
		return 0, fmt.Errorf("is %q: a whole number from %d to %d is allowed", value, least, most)
	}
	return int(f), nil
}

func number(least, most int, field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, value string) (err error) {
		*field(c), err = whole(value, least, most)
		return err
	}
}

// longest is what any time may be set to.
const longest = 366 * 24 * time.Hour

func milliseconds(least int, field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, value string) error {
		n, err := whole(value, least, int(longest.Milliseconds()))
		*field(c) = time.Duration(n) * time.Millisecond
		return err
	}
}

// interval is above 0 and may have a fraction.
func interval(field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, value string) error {
		f, ok := amount(value)
		if !ok || f <= 0 || f > float64(longest.Milliseconds()) {
			return fmt.Errorf("is %q: a number above 0, up to %d, is allowed", value, longest.Milliseconds())
		}
		*field(c) = max(time.Duration(f*float64(time.Millisecond)), 1)
		return nil
	}
}

func setPollWait(c *Config, value string) error {
	n, err := whole(value, 0, int(longest.Seconds()))
	if err != nil {
		return err
	}
	if cut := min(max(n, 1), 30); cut != n {
		c.Warnings = append(c.Warnings, fmt.Sprintf("SHIPFOX_PROVISIONER_POLL_WAIT_SECONDS is %d: taken for %d; the service answers as soon as there is demand", n, cut))
		n = cut
	}
	c.PollWait = time.Duration(n) * time.Second
	return nil
}

func setRunnerPollMax(c *Config, value string) error {
	f, ok := amount(value)
	switch {
	case !ok || f < 0 || f > float64(longest.Milliseconds()):
		return fmt.Errorf("is %q: a number from 0 to %d is allowed", value, longest.Milliseconds())
	case f == 0:
		c.RunnerPollMax = -1 // for ever
	default:
		c.RunnerPollMax = max(time.Duration(f)*time.Millisecond, time.Millisecond)
	}
	return nil
}

func setStopGrace(c *Config, value string) error {
	n, err := whole(value, 0, 600)
	c.StopGrace = time.Duration(n) * time.Second
	if n == 0 {
		c.StopGrace = -1 // none
	}
	return err
}

func setMaxLifetime(c *Config, value string) error {
	n, err := whole(value, 1, int(longest.Seconds()))
	c.RunnerMaxLifetime = time.Duration(n) * time.Second
	return err
}

func setMaxReservations(c *Config, value string) error {
	n, err := whole(value, 0, 1000000)
	if n > maxReservations {
		c.Warnings = append(c.Warnings, fmt.Sprintf("SHIPFOX_PROVISIONER_MAX_RESERVATIONS is %d: cut to %d, which is all that the API takes", n, maxReservations))
	}
	c.MaxReservations = min(n, maxReservations)
	return err
}

func setBatch(c *Config, value string) error {
	n, err := whole(value, 1, 1000000)
	if n > maxBatch {
		c.Warnings = append(c.Warnings, fmt.Sprintf("the batch size is %d: cut to %d, which is all that the API takes", n, maxBatch))
	}
	c.BatchSize = min(n, maxBatch)
	return err
}

func setOldBatch(c *Config, value string) error {
	if c.batchGiven {
		c.Warnings = append(c.Warnings, "SHIPFOX_PROVISIONER_REGISTRATION_TOKEN_BATCH_SIZE is passed over: its newer name is set too")
		return nil
	}
	return setBatch(c, value)
}

func setDockerHost(c *Config, value string) error {
	scheme, rest, ok := strings.Cut(value, "://")
	if !ok || rest == "" || !slices.Contains([]string{"unix", "tcp", "ssh", "http", "https"}, scheme) {
		return fmt.Errorf("is %q: unix:///path, tcp://host:port or ssh://user@host is needed", value)
	}
	c.DockerHost = value
	return nil
}

// settleTLS finds the certificates for an engine that https:// names. One that
// tcp:// names is spoken to without TLS, as the reference does.
func (c *Config) settleTLS(getenv func(string) string) error {
	if !strings.HasPrefix(c.DockerHost, "https://") {
		return nil
	}
	if c.DockerCertPath = getenv("DOCKER_CERT_PATH"); c.DockerCertPath == "" {
		return fmt.Errorf("SHIPFOX_PROVISIONER_DOCKER_HOST is %q: https needs DOCKER_CERT_PATH, a folder with ca.pem, cert.pem and key.pem", c.DockerHost)
	}
	return nil
}

func setExtraHosts(c *Config, value string) error {
	for pair := range strings.SplitSeq(value, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		name, addr, ok := strings.Cut(pair, ":")
		if !ok || name == "" || addr == "" || addr != "host-gateway" && net.ParseIP(strings.Trim(addr, "[]")) == nil {
			return fmt.Errorf("holds %q: name:address is needed, the address an IP or host-gateway", pair)
		}
		c.DockerExtraHosts = append(c.DockerExtraHosts, pair)
	}
	return nil
}

func setLogOptions(c *Config, value string) error {
	var options map[string]string
	if err := json.Unmarshal([]byte(value), &options); err != nil || options == nil {
		// The value is not told: drivers take credentials in their options.
		return errors.New(`is not shown, since it may hold secrets: a JSON object of strings is needed, such as {"max-size":"10m"}`)
	}
	c.DockerLogOptions = options
	return nil
}

func boolean(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, value string) error {
		switch strings.ToLower(value) {
		case "true", "t", "yes", "y", "on", "1":
			*field(c) = true
		case "false", "f", "no", "n", "off", "0":
			*field(c) = false
		default:
			return fmt.Errorf("is %q: true or false is allowed", value)
		}
		return nil
	}
}

func setBackend(c *Config, value string) error {
	if value != "docker" && value != "process" {
		return fmt.Errorf("is %q: docker or process is allowed", value)
	}
	c.Backend = value
	return nil
}

func setBinds(c *Config, value string) error {
	for dir := range strings.SplitSeq(value, ",") {
		dir = strings.TrimSpace(dir)
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
			return fmt.Errorf("holds %q: clean absolute paths are needed", dir)
		}
		c.AllowedBinds = append(c.AllowedBinds, dir)
	}
	return nil
}

func setHTTPAddr(c *Config, value string) error {
	c.HTTPAddr = value
	if value == "off" {
		return nil
	}
	host, port, err := net.SplitHostPort(value)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || !isHost(host) {
		return fmt.Errorf("is %q: host:port or off is needed, the host an address, a name or empty, the port a number from 0 to 65535", value)
	}
	return nil
}

// isHost says whether a name or an address can be meant. The name's last part is no
// number (RFC 1123, section 2.1): that is a bad address.
func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return true
	}
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	for _, part := range parts {
		if part == "" || len(part) > 63 || strings.Trim(strings.ToLower(part), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || strings.Trim(part, "-") != part {
			return false
		}
	}
	_, err := strconv.Atoi(parts[len(parts)-1])
	return err != nil
}
