package api

import (
	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/client"
)

// What goes over the wire is defined once, beside the client, which needs
// nothing else of the hub.
type (
	// Problem is an error as it is answered.
	Problem = problem.Problem
	// HubInfo tells of the hub itself.
	HubInfo = client.HubInfo
	// Job is a job as it is answered.
	Job = client.Job
	// JobSummary is a job as it is listed.
	JobSummary = client.JobSummary
	// JobSpec is what POST /jobs takes.
	JobSpec = client.JobSpec
	// Waiting tells why a job waits.
	Waiting = client.Waiting
	// JobEvent is one step of a job's history.
	JobEvent = client.JobEvent
	// Event is something that happened on the hub.
	Event = client.Event
	// AuditEntry tells of one change that somebody asked for.
	AuditEntry = client.AuditEntry
	// FieldChange is one field before and after.
	FieldChange = client.FieldChange
	// Host is a host as it is answered; GPU one of its devices.
	Host = client.Host
	GPU  = client.GPU
	// HostSpec is what POST /hosts takes, HostEdit what PATCH does; NewHost is a host
	// with its enrolment.
	HostSpec     = client.HostSpec
	HostEdit     = client.HostEdit
	NewHost      = client.NewHost
	NewEnrolment = client.NewEnrolment
	// ReenrolSpec, DrainSpec, UpdateSpec and UpdateHostsSpec are what is done to hosts.
	ReenrolSpec     = client.ReenrolSpec
	DrainSpec       = client.DrainSpec
	UpdateSpec      = client.UpdateSpec
	UpdateHostsSpec = client.UpdateHostsSpec
	// Enrolment is one as it is listed.
	Enrolment = client.Enrolment
	// ScaleSet is one as it is answered; ScaleSetSpec and NamedScaleSet as it is written.
	ScaleSet       = client.ScaleSet
	ScaleSetStatus = client.ScaleSetStatus
	RunnerEnd      = client.RunnerEnd
	ScaleSetSpec   = client.ScaleSetSpec
	NamedScaleSet  = client.NamedScaleSet
	// Diff is what applying a file changes; Change what it does to one scale set.
	Diff   = client.Diff
	Change = client.Change
	// Verdict says whether a host can get the next runner of a scale set.
	Verdict = client.Verdict
	// Credential is a registry credential as it is listed; CredentialSpec as it is set.
	Credential     = client.Credential
	CredentialSpec = client.CredentialSpec
	// Runner is a runner of the fleet.
	Runner = client.Runner
	// Identity says whose a token is.
	Identity = client.Identity
	// LogRecord is one line of a log in the form of records.
	LogRecord = client.LogRecord
	// Token is a token as it is listed.
	Token = client.Token
	// TokenSpec is what POST /tokens takes.
	TokenSpec = client.TokenSpec
	// NewToken is a token with its secret.
	NewToken = client.NewToken
)
