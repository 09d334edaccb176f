package client

import "time"

// Credential is a user of an image registry, as it is answered: without the
// password, which no answer repeats.
type Credential struct {
	Name      string    `json:"name"`
	Registry  string    `json:"registry"`
	Username  string    `json:"username"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Problem   string    `json:"problem,omitempty" doc:"why its password can't be read any more, and what to do; absent: it can"`
}

// CredentialSpec is what PUT /credentials/{name} takes.
type CredentialSpec struct {
	Registry string `json:"registry" minLength:"1" maxLength:"255" doc:"the registry's host, such as ghcr.io"`
	Username string `json:"username" minLength:"1" maxLength:"255"`
	Password string `json:"password" minLength:"1" maxLength:"65536" writeOnly:"true" doc:"encrypted at rest; told to the agents alone, for the pull"`
}
