// Package identity is an agent's data folder: who the agent is, which host of
// which hub it serves, and its credentials.
//
//	agent.json       Identity: nothing in it is secret
//	token            the credential in use
//	token.next       the credential that a rotation has made, until it was used
//	enrol.json       an enrolment under way, with the credential it is to give
//	update-key.pub   whose signature on updates is believed
//	lock             held by the agent that runs
//	write.lock       held for the moment of a change
//
// Each file is replaced in one step and written through to the disk, so that a
// crash at any instant leaves the old one or the new one. What is secret has mode
// 0600 in a folder of mode 0700, and anything more open is refused.
package identity
