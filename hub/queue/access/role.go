package access

import "github.com/slipway-ci/slipway/tokens"

// Role says what a token may do with the hub's own API. Each may do what the
// ones after it may. The values are stored: add at the end only.
type Role string

// The roles, the most powerful first.
const (
	// RoleAdmin may do everything.
	RoleAdmin Role = "admin"
	// RoleOperator may run the hub, but not decide who has access to it: no
	// tokens, no audit, no writing of registry credentials, no adding or removing
	// of hosts.
	RoleOperator Role = "operator"
	// RoleViewer may look at what is no secret.
	RoleViewer Role = "viewer"
)

// rank is 0 for what is no role.
func (r Role) rank() int {
	switch r {
	case RoleAdmin:
		return 3
	case RoleOperator:
		return 2
	case RoleViewer:
		return 1
	}
	return 0
}

// Valid says whether r is one of the roles.
func (r Role) Valid() bool { return r.rank() > 0 }

// Covers says whether r may do what needs at least the role least. What is no
// role covers nothing, and is covered by nothing.
func (r Role) Covers(least Role) bool { return least.Valid() && r.rank() >= least.rank() }

// roleOf is the role of a token: an admin token's is admin, whatever is stored.
func roleOf(kind tokens.Kind, stored Role) Role {
	switch kind {
	case tokens.Admin:
		return RoleAdmin
	case tokens.API:
		return stored
	}
	return ""
}
