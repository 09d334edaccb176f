package client

import "time"

// Token is a token as it is listed.
type Token struct {
	ID          string     `json:"id"`
	Kind        string     `json:"kind" enum:"provisioner,registration,admin"`
	Prefix      string     `json:"prefix" doc:"how the token begins"`
	Name        string     `json:"name"`
	API         string     `json:"api,omitempty" doc:"the generation of a provisioner's API"`
	Provisioner string     `json:"provisioner_id,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at"`
	RevokedAt   *time.Time `json:"revoked_at"`
}

// TokenSpec is what POST /tokens takes.
type TokenSpec struct {
	Kind             string `json:"kind" enum:"provisioner,registration,admin" doc:"registration: any number of runners, until it is revoked"`
	API              string `json:"api,omitempty" enum:"head,ert,pr" doc:"for provisioners; default head"`
	Name             string `json:"name,omitempty" doc:"for people, at most 200 characters"`
	ExpiresInSeconds int64  `json:"expires_in_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"0: never"`
}

// NewToken is a token with its secret.
type NewToken struct {
	Token
	Secret string `json:"token" doc:"the secret; it can't be shown again"`
}
