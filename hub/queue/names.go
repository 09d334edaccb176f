package queue

import (
	"github.com/slipway-ci/slipway/hub/queue/access"
	"github.com/slipway-ci/slipway/hub/queue/dispatch"
	"github.com/slipway-ci/slipway/hub/queue/jobs"
	"github.com/slipway-ci/slipway/hub/queue/lease"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/queue/topic"
)

// Jobs.
type (
	JobSpec   = jobs.Spec
	JobFilter = jobs.Filter
	Depth     = jobs.Depth
	Job       = ledger.Job
	JobEvent  = ledger.JobEvent
	State     = ledger.State
)

// The states of a job; see State.
const (
	StateQueued     = ledger.StateQueued
	StateReserved   = ledger.StateReserved
	StateLaunched   = ledger.StateLaunched
	StateRunning    = ledger.StateRunning
	StateSucceeded  = ledger.StateSucceeded
	StateFailed     = ledger.StateFailed
	StateCancelled  = ledger.StateCancelled
	StateTimedOut   = ledger.StateTimedOut
	StateRunnerLost = ledger.StateRunnerLost
)

// Limits of JobSpec; see package jobs.
const (
	MaxNameLength  = jobs.MaxNameLength
	MaxScriptBytes = jobs.MaxScriptBytes
	MaxArguments   = jobs.MaxArguments
	MaxEnv         = jobs.MaxEnv
	MaxEnvBytes    = jobs.MaxEnvBytes
	MaxTimeout     = jobs.MaxTimeout
	MaxRetries     = jobs.MaxRetries
	MaxKeyLength   = jobs.MaxKeyLength
)

// Provisioners and their runners.
type (
	Provisioner       = ledger.Provisioner
	Generation        = ledger.Generation
	PollRequest       = dispatch.PollRequest
	PollAnswer        = dispatch.PollAnswer
	Stat              = dispatch.Stat
	Reservation       = dispatch.Reservation
	Intent            = dispatch.Intent
	InstanceRequest   = dispatch.InstanceRequest
	Instance          = dispatch.Instance
	RegistrationToken = dispatch.RegistrationToken
	RunnerState       = ledger.RunnerState
	RunnerEvent       = dispatch.RunnerEvent
	RunnerView        = dispatch.RunnerView
	BoundJob          = dispatch.BoundJob
	RunnerFact        = dispatch.RunnerFact
	RunnerEnd         = dispatch.RunnerEnd
)

// The generations of the Shipfox API, and the states of runners; see Generation and
// RunnerState.
const (
	GenerationHead = ledger.GenerationHead
	GenerationERT  = ledger.GenerationERT
	GenerationPR   = ledger.GenerationPR

	RunnerStarting   = ledger.RunnerStarting
	RunnerRunning    = ledger.RunnerRunning
	RunnerStopping   = ledger.RunnerStopping
	RunnerStopped    = ledger.RunnerStopped
	RunnerFailed     = ledger.RunnerFailed
	RunnerTerminated = ledger.RunnerTerminated
)

// Runners and their leases.
type (
	ControlSession = lease.ControlSession
	Enrolment      = lease.Enrolment
	Session        = lease.Session
	Mode           = lease.Mode
	Claim          = lease.Claim
	Lease          = ledger.Lease
	LeasedJob      = lease.LeasedJob
	Renewal        = lease.Renewal
	Outcome        = lease.Outcome
	Result         = lease.Result
	Revoked        = lease.Revoked
)

// The modes of sessions and the outcomes of attempts; see Mode and Outcome.
const (
	ModeManual     = lease.ModeManual
	ModeEphemeral  = lease.ModeEphemeral
	ModeActivation = lease.ModeActivation

	OutcomeSucceeded = lease.OutcomeSucceeded
	OutcomeFailed    = lease.OutcomeFailed
	OutcomeCancelled = lease.OutcomeCancelled
	OutcomeTimedOut  = lease.OutcomeTimedOut

	// ReasonHostRemoved is why runners and jobs ended whose host was removed.
	ReasonHostRemoved = lease.ReasonHostRemoved
)

// Tokens and roles.
type (
	TokenSpec = access.TokenSpec
	Token     = access.Token
	Role      = access.Role
)

// The roles, the most powerful first; see Role.
const (
	RoleAdmin    = access.RoleAdmin
	RoleOperator = access.RoleOperator
	RoleViewer   = access.RoleViewer
)

// Errors; each is documented where its room has it.
var (
	ErrNotFound = ledger.ErrNotFound
	ErrInvalid  = ledger.ErrInvalid

	ErrStorageFull = jobs.ErrStorageFull
	ErrKeyReused   = jobs.ErrKeyReused

	ErrUnauthorized  = access.ErrUnauthorized
	ErrTokenExpired  = access.ErrTokenExpired
	ErrTokenRevoked  = access.ErrTokenRevoked
	ErrTokenConsumed = access.ErrTokenConsumed
	ErrLastAdmin     = access.ErrLastAdmin

	ErrReservationNotFound = dispatch.ErrReservationNotFound
	ErrReservationExpired  = dispatch.ErrReservationExpired
	ErrNotAssignable       = dispatch.ErrNotAssignable
	ErrRunnerConflict      = dispatch.ErrRunnerConflict

	ErrRunnerEnded      = lease.ErrRunnerEnded
	ErrSessionExhausted = lease.ErrSessionExhausted
	ErrLeaseEnded       = lease.ErrLeaseEnded
	ErrLeaseJob         = lease.ErrLeaseJob
)

// Errors that have something to tell.
type (
	InvalidError     = ledger.InvalidError
	ExceedsError     = dispatch.ExceedsError
	ActiveTokenError = dispatch.ActiveTokenError
)

// Subscription wakes its owner after changes; see Queue.Subscribe.
type Subscription = topic.Subscription

// TopicJobs is woken when something about some job changed.
const TopicJobs = ledger.TopicJobs

// TopicJob is woken by every change of one job.
func TopicJob(id string) string { return ledger.TopicJob(id) }

// TopicToken is woken when a token was revoked.
func TopicToken(id string) string { return ledger.TopicToken(id) }
