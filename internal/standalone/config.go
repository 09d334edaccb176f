// Package standalone is the program slipway-provisioner: the loop, the Shipfox
// API as its control plane, and this machine's Docker engine, or plain
// processes, as its backend.
package standalone

import (
	"time"

	"github.com/slipway-ci/slipway/tokens"
)

// Config is what the program runs with: every setting, parsed.
type Config struct {
	APIURL, RunnerAPIURL string
	Token                tokens.Token
	TemplatesFile        string
	DefaultImage         string

	Backend          string // docker or process
	DockerHost       string
	DockerNetwork    string
	DockerExtraHosts []string
	DockerLogDriver  string
	DockerLogOptions map[string]string
	ProcessDir       string
	AllowedBinds     []string
	AdoptOwner       string

	FailedRetention      time.Duration
	FailedRetentionCount int
	RegistrationDeadline time.Duration
	PollWait             time.Duration
	PollInterval         time.Duration
	PollMaxInterval      time.Duration
	ConvergeInterval     time.Duration
	MaxReservations      int
	BatchSize            int
	LaunchParallelism    int
	RunnerPollMax        time.Duration
	RunnerMaxLifetime    time.Duration

	HTTPAddr      string
	httpAddrGiven bool
	batchGiven    bool

	LogLevel  string
	LogPretty bool
	LogFile   string

	// Warnings are what was cut, or is odd and not wrong.
	Warnings []string
}
