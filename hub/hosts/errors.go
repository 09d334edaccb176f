package hosts

import (
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/hub/hosts/form"
)

var (
	// ErrConfig: a Config can't be used; the text names the field.
	ErrConfig = errors.New("hosts: config")
	// ErrNotFound: there is no such host or enrolment.
	ErrNotFound = errors.New("hosts: not found")
	// ErrNameTaken: another host has that name.
	ErrNameTaken = errors.New("hosts: name taken")
	// ErrStale: the host was changed since the version that was given.
	ErrStale = errors.New("hosts: changed meanwhile")
	// ErrBusy: the host is online or has runners, and removal was not forced.
	ErrBusy = errors.New("hosts: host in use")
	// ErrNoPublicURL: nobody can be invited before the hub knows its own URL.
	ErrNoPublicURL = errors.New("hosts: no public URL: start the hub with --public-url (SLIPWAY_PUBLIC_URL), the https URL at which hosts reach it")
	// ErrNotEnrolled: no agent has a credential of this host.
	ErrNotEnrolled = errors.New("hosts: not enrolled")
	// ErrDuplicated: the agent or the engine is another host's, or the host has
	// another.
	ErrDuplicated = errors.New("hosts: host-duplicated")
	// ErrCredentialTaken: the credential is another host's, or was a removed one's.
	ErrCredentialTaken = errors.New("hosts: credential of another host")
	// ErrLocal: it can't be done to the host beside the hub, whose token is set where
	// the hub is started. It is a queue.InvalidError.
	ErrLocal = form.Invalid("host", "is the local one: its token is SLIPWAY_LOCAL_AGENT_TOKEN, change it there")
	// ErrNotBound: the registry has no fleet to ask.
	ErrNotBound = errors.New("hosts: no fleet")

	// ErrUnknownEnrolment: there is no such enrolment, or it was cancelled.
	ErrUnknownEnrolment = errors.New("hosts: unknown enrolment")
	// ErrExpiredEnrolment: its life is over, and nobody used it.
	ErrExpiredEnrolment = errors.New("hosts: enrolment expired")
	// ErrSpentEnrolment: it was used.
	ErrSpentEnrolment = errors.New("hosts: enrolment spent")
	// ErrOtherAgent: it was used by another agent, or with another credential. It
	// is ErrSpentEnrolment.
	ErrOtherAgent = fmt.Errorf("%w: by another agent or credential", ErrSpentEnrolment)
)
