package api

import "github.com/slipway-ci/slipway/hub/client"

// What goes over the wire is defined once, beside the client, which needs
// nothing else of the hub.
type (
	// Job is a job as it is answered.
	Job = client.Job
	// JobSpec is what POST /jobs takes.
	JobSpec = client.JobSpec
	// Event is one step of a job's history.
	Event = client.Event
	// LogRecord is one line of a log in the form of records.
	LogRecord = client.LogRecord
	// Token is a token as it is listed.
	Token = client.Token
	// TokenSpec is what POST /tokens takes.
	TokenSpec = client.TokenSpec
	// NewToken is a token with its secret.
	NewToken = client.NewToken
)
