package install

import "errors"

var (
	// ErrUnknown: no such enrolment was ever made, or it was cancelled.
	ErrUnknown = errors.New("install: unknown enrolment")
	// ErrSpent: the enrolment was used.
	ErrSpent = errors.New("install: enrolment was used already")
	// ErrExpired: the enrolment was not used in time.
	ErrExpired = errors.New("install: enrolment has expired")
	// ErrConfig: a field of Config, or of the table of runtimes, can't be right.
	ErrConfig = errors.New("install: bad configuration")

	errNoAgent = errors.New("install: no such agent")
)
