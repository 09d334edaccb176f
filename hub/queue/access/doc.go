// Package access is the registry of bearer tokens: who may use the hub, and as what.
//
// It keeps digests alone. A secret is in the answer of the call that made it, and
// nowhere else; a token of one use is used by exactly one of those who try; and only
// who held a token that was good once is told why it is not any more.
//
// What people make, list and revoke are the tokens of CreateToken: of provisioners, of
// runners that register by hand, of admins, and of the API by role. Those that runners
// are launched with, and get for each other, are made by the rooms that launch them,
// each within its own transaction (AddFor, Find, Consume).
package access
