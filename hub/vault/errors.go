package vault

import "errors"

// Errors of Open, and of a Vault's methods.
var (
	// ErrKey: the master key is missing, is none, or is another than what was
	// sealed needs.
	ErrKey = errors.New("vault: master key")
	// ErrKeyFile: the key's file may not be used as it is.
	ErrKeyFile = errors.New("vault: key file")
	// ErrSealed: a value was damaged, or sealed for another place.
	ErrSealed = errors.New("vault: sealed value is damaged or belongs to another place")
)
