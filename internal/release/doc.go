// Package release says which build of the agent is which: a manifest names a
// program's version, platform, SHA-256 and size, signed with ed25519, and Newer
// orders versions. Whoever updates itself holds the public key since it was
// installed, checks the manifest with it, the bytes with the manifest, and that
// the version goes forward.
//
// A manifest is text, its canonical form and no other (so that what was signed
// is what is read):
//
//	slipway-agent-manifest-v1
//	version 1.4.0
//	os linux
//	arch amd64
//	sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//	size 21364736
//	signature 5f3c19d2a07be441 <base64 of 64 bytes>
//
// The signature is over all lines before it, ends of lines included; before it
// stands the id of the key. The first line keeps a signature for this apart from
// any other use of the same key.
//
// A key file is one line: what it is, and 32 bytes in base64 (a private key as
// its seed). Lines that begin with # are comments.
//
//	slipway-update-public-key <base64>
//	slipway-update-private-key <base64>
package release
