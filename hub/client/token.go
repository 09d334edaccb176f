package client

import "time"

// Token is a token as it is listed.
type Token struct {
	ID          string     `json:"id"`
	Kind        string     `json:"kind" enum:"provisioner,registration,admin,api"`
	Role        string     `json:"role,omitempty" enum:"admin,operator,viewer" doc:"of a token of kind api"`
	Prefix      string     `json:"prefix" doc:"how the token begins"`
	Name        string     `json:"name"`
	API         string     `json:"api,omitempty" doc:"the generation of a provisioner's API"`
	Provisioner string     `json:"provisioner_id,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at"`
	RevokedAt   *time.Time `json:"revoked_at"`
}

// MaxTokenLifetime bounds ExpiresInSeconds of a TokenSpec.
const MaxTokenLifetime = 3650 * 24 * time.Hour

// TokenSpec is what POST /tokens takes.
type TokenSpec struct {
	Kind             string `json:"kind" enum:"provisioner,registration,admin,api" doc:"registration: any number of runners, until it is revoked; api: people and programs, with a role"`
	Role             string `json:"role,omitempty" enum:"admin,operator,viewer" doc:"for kind api, which must have one"`
	API              string `json:"api,omitempty" enum:"head,ert,pr" doc:"for provisioners; default head"`
	Name             string `json:"name,omitempty" doc:"for people, at most 200 characters"`
	ExpiresInSeconds int64  `json:"expires_in_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"0: never"`
}

// NewToken is a token with its secret.
type NewToken struct {
	Token
	Secret string `json:"token" doc:"the secret; it can't be shown again"`
}

// Identity is what GET /whoami answers: whose the token of the request is. It is
// answered to every role.
type Identity struct {
	TokenID   string     `json:"token_id"`
	Kind      string     `json:"kind" enum:"admin,api"`
	Name      string     `json:"name"`
	Role      string     `json:"role" enum:"admin,operator,viewer" doc:"what it may do; of an admin token, admin"`
	ExpiresAt *time.Time `json:"expires_at"`
}
