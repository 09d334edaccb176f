package runner

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// The environment of the program.
const (
	envURL          = "SHIPFOX_API_URL"
	envRegistration = "SHIPFOX_RUNNER_REGISTRATION_TOKEN"
	envBootstrap    = "SHIPFOX_RUNNER_BOOTSTRAP_TOKEN"
	envLabels       = "SHIPFOX_RUNNER_LABELS"
	envProvider     = "SHIPFOX_RUNNER_PROVIDER_KIND"
	envPoll         = "SHIPFOX_POLL_MAX_DURATION_MS"
	envLifetime     = "SHIPFOX_RUNNER_MAX_LIFETIME_SECONDS"
	envCA           = "SLIPWAY_CA_FILE"
)

// Config is what one runner needs.
type Config struct {
	// URL is the base of the hub's API. Required.
	URL *url.URL
	// Token is the credential: of kind EphemeralRegistration,
	// ManualRegistration, Activation or Bootstrap. Required.
	Token tokens.Token
	// Labels are the runner's, canonical. Required.
	Labels []string
	// ProviderKind says what launched the runner; default "slipway".
	ProviderKind string
	// PollDuration is how long a registered runner waits for a job, and how long
	// it tries to reach the hub; default 5 min. Below 0: as long as it lives.
	PollDuration time.Duration
	// Lifetime bounds the runner, its job included; default 1 h.
	Lifetime time.Duration
	// CAFile holds more roots to trust, in PEM; "" adds none.
	CAFile string
	// Env is the environment that the job's is made from, as os.Environ gives
	// it. What is the runner's own in it, and every token, is left out.
	Env []string
	// Logger tells what the runner does; nil discards.
	Logger hclog.Logger

	grace time.Duration // between TERM and KILL; default 10 s
	stall time.Duration // how long a log that isn't taken holds up the job; default 1 min
}

// configFrom reads the environment. An error is ErrUsage and names the variable.
func configFrom(env []string) (Config, error) {
	vars := map[string]string{}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		vars[name] = value
	}
	c := Config{CAFile: vars[envCA], ProviderKind: vars[envProvider], Env: env}
	var err error
	if c.URL, err = baseURL(vars[envURL]); err != nil {
		return Config{}, err
	}
	if c.Token, err = credential(vars); err != nil {
		return Config{}, err
	}
	if vars[envLabels] == "" {
		return Config{}, usage(envLabels, "not set")
	}
	if c.Labels, err = template.Canonical(strings.Split(vars[envLabels], ",")); err != nil {
		return Config{}, usage(envLabels, err.Error())
	}
	if len(c.ProviderKind) > 64 {
		return Config{}, usage(envProvider, "at most 64 characters are allowed")
	}
	if c.PollDuration, err = duration(vars, envPoll, time.Millisecond, 0); err != nil {
		return Config{}, err
	}
	if vars[envPoll] != "" && c.PollDuration == 0 {
		c.PollDuration = -1 // as long as it lives
	}
	if c.Lifetime, err = duration(vars, envLifetime, time.Second, 1); err != nil {
		return Config{}, err
	}
	return c, nil
}

func (c Config) withDefaults() Config {
	if c.ProviderKind == "" {
		c.ProviderKind = "slipway"
	}
	if c.PollDuration == 0 {
		c.PollDuration = 5 * time.Minute
	}
	if c.Lifetime == 0 {
		c.Lifetime = time.Hour
	}
	if c.PollDuration < 0 {
		c.PollDuration = c.Lifetime
	}
	if c.grace == 0 {
		c.grace = killGrace
	}
	if c.stall == 0 {
		c.stall = defaultStall
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// baseURL reads the hub's. What it is may hold a password, so no error repeats it.
func baseURL(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, usage(envURL, "an http or https URL is needed")
	}
	if base.User != nil || strings.ContainsAny(text, "?#") {
		return nil, usage(envURL, "a URL without user, password, query (?) and fragment (#) is needed")
	}
	return base, nil
}

func credential(vars map[string]string) (tokens.Token, error) {
	registration, bootstrap := vars[envRegistration], vars[envBootstrap]
	switch {
	case registration != "" && bootstrap != "":
		return tokens.Token{}, usage(envBootstrap, "set it or "+envRegistration+", not both")
	case registration != "":
		token, err := tokens.Parse(registration)
		kind := token.Kind()
		if err != nil || kind != tokens.EphemeralRegistration && kind != tokens.ManualRegistration && kind != tokens.Activation {
			return tokens.Token{}, usage(envRegistration, "no registration token (sf_ert_… or sf_mrt_…)")
		}
		return token, nil
	case bootstrap != "":
		token, err := tokens.Parse(bootstrap)
		if err != nil || token.Kind() != tokens.Bootstrap {
			return tokens.Token{}, usage(envBootstrap, "no bootstrap token (sf_rbt_…)")
		}
		return token, nil
	default:
		return tokens.Token{}, usage(envRegistration, "not set, and neither is "+envBootstrap)
	}
}

// duration reads a whole number of units, least or more; 0 where it is not set.
func duration(vars map[string]string, name string, unit time.Duration, least int64) (time.Duration, error) {
	text := vars[name]
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if errors.Is(err, strconv.ErrRange) && n > 0 {
		return 0, usage(name, fmt.Sprintf("%q is too large: %d to %d is allowed", text, least, math.MaxInt32))
	}
	if err != nil || n < least {
		return 0, usage(name, fmt.Sprintf("%q is no whole number of %d or more", text, least))
	}
	return time.Duration(n) * unit, nil
}

func usage(variable, problem string) error {
	return fmt.Errorf("%w: %s: %s", ErrUsage, variable, problem)
}
