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
	DockerCertPath   string // for an engine that https:// names
	DockerNetwork    string
	DockerExtraHosts []string
	DockerLogDriver  string
	DockerLogOptions map[string]string
	ProcessDir       string
	AllowedBinds     []string
	AdoptOwner       string
	Isolate          bool          // runners are kept from each other, and from gaining privileges
	StopGrace        time.Duration // negative: none

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

	LogLevel       string // the least of the two below
	LogStdout      bool
	LogStdoutLevel string
	LogPretty      bool // on standard output
	LogFile        string
	LogFileLevel   string

	// Warnings are what was cut, or is odd and not wrong.
	Warnings []string
}
