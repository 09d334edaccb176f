package release

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const (
	header = "slipway-agent-manifest-v1"
	// maxSize is more than any program of ours will be, in bytes.
	maxSize = 1 << 30
	// maxManifest bounds the text of a manifest, in bytes.
	maxManifest = 4096
)

// Manifest names one program. Make it with Describe, sign it with Sign.
type Manifest struct {
	// Version is that of a release: semver, with or without a leading v.
	Version string
	// OS and Arch are in Go's words.
	OS, Arch string
	// SHA256 is that of the program, in lower-case hexadecimal.
	SHA256 string
	// Size is the program's, in bytes.
	Size int64
	// KeyID is the id of the key that signed it; empty: not signed.
	KeyID string
	// Signature is over the canonical text; nil: not signed.
	Signature []byte
}

var (
	word   = regexp.MustCompile(`^[a-z0-9]{1,16}$`)
	digest = regexp.MustCompile(`^[0-9a-f]{64}$`)
	keyID  = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

func (m Manifest) validate() error {
	bad := func(field string) error { return fmt.Errorf("%w: %s", ErrManifest, field) }
	switch {
	case !releasable(m.Version):
		return fmt.Errorf("%w: version: %w", ErrManifest, ErrVersion)
	case !word.MatchString(m.OS):
		return bad("os")
	case !word.MatchString(m.Arch):
		return bad("arch")
	case !digest.MatchString(m.SHA256):
		return bad("sha256")
	case m.Size <= 0 || m.Size > maxSize:
		return bad("size")
	case (m.KeyID == "") != (m.Signature == nil):
		return bad("signature")
	case m.KeyID != "" && (!keyID.MatchString(m.KeyID) || len(m.Signature) != ed25519.SignatureSize):
		return bad("signature")
	}
	return nil
}

// signed is what a signature is over.
func (m Manifest) signed() []byte {
	return fmt.Appendf(nil, "%s\nversion %s\nos %s\narch %s\nsha256 %s\nsize %d\n", header, m.Version, m.OS, m.Arch, m.SHA256, m.Size)
}

// Text is the manifest in canonical form, with its signature where it has one.
func (m Manifest) Text() []byte {
	text := m.signed()
	if m.KeyID != "" {
		text = fmt.Appendf(text, "signature %s %s\n", m.KeyID, base64.StdEncoding.EncodeToString(m.Signature))
	}
	return text
}

// Parse reads what Text wrote, and nothing else; the error is ErrManifest. It
// checks no signature: see Verify.
func Parse(text []byte) (Manifest, error) {
	if len(text) > maxManifest {
		return Manifest{}, fmt.Errorf("%w: more than %d bytes", ErrManifest, maxManifest)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 7 || len(lines) > 8 || lines[0] != header {
		return Manifest{}, fmt.Errorf("%w: not of the form %s", ErrManifest, header)
	}
	var m Manifest
	var size string
	for i, field := range []struct {
		name string
		to   *string
	}{{"version", &m.Version}, {"os", &m.OS}, {"arch", &m.Arch}, {"sha256", &m.SHA256}, {"size", &size}} {
		value, ok := strings.CutPrefix(lines[i+1], field.name+" ")
		if !ok {
			return Manifest{}, fmt.Errorf("%w: line %d is not %q", ErrManifest, i+2, field.name)
		}
		*field.to = value
	}
	var err error
	if m.Size, err = strconv.ParseInt(size, 10, 64); err != nil {
		return Manifest{}, fmt.Errorf("%w: size", ErrManifest)
	}
	if err := m.parseSignature(lines[6:]); err != nil {
		return Manifest{}, err
	}
	if err := m.validate(); err != nil {
		return Manifest{}, err
	}
	// Two texts for one manifest would let a signed one be altered.
	if !bytes.Equal(m.Text(), text) {
		return Manifest{}, fmt.Errorf("%w: not in canonical form", ErrManifest)
	}
	return m, nil
}

// parseSignature reads the rest: "", or a signature's line and "".
func (m *Manifest) parseSignature(lines []string) error {
	if len(lines) == 1 {
		return nil // Text's equality says whether it is empty
	}
	words := strings.Split(lines[0], " ")
	if len(words) != 3 || words[0] != "signature" {
		return fmt.Errorf("%w: line 7 is not \"signature\"", ErrManifest)
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(words[2])
	if err != nil {
		return fmt.Errorf("%w: signature", ErrManifest)
	}
	m.KeyID, m.Signature = words[1], signature
	return nil
}

// Sign returns the manifest signed with key, whatever signature it had. The
// error is ErrManifest for one that can't be.
func Sign(m Manifest, key PrivateKey) (Manifest, error) {
	m.KeyID, m.Signature = "", nil
	if err := m.validate(); err != nil {
		return Manifest{}, err
	}
	if key.IsZero() {
		return Manifest{}, fmt.Errorf("%w: no key to sign with", ErrKey)
	}
	m.Signature = ed25519.Sign(key.key, m.signed())
	m.KeyID = key.Public().ID()
	return m, nil
}

// Verify checks that key signed the manifest; ErrSignature says whose it is.
func (m Manifest) Verify(key PublicKey) error {
	if err := m.validate(); err != nil {
		return err
	}
	switch {
	case key.IsZero():
		return fmt.Errorf("%w: no key to check it with", ErrSignature)
	case m.KeyID == "":
		return fmt.Errorf("%w: the manifest of %s %s/%s is not signed", ErrSignature, m.Version, m.OS, m.Arch)
	case m.KeyID != key.ID():
		return fmt.Errorf("%w: signed by key %s, key %s is trusted", ErrSignature, m.KeyID, key.ID())
	case !ed25519.Verify(key.key, m.signed(), m.Signature):
		return fmt.Errorf("%w: the signature by key %s does not match", ErrSignature, m.KeyID)
	}
	return nil
}

// For checks that the manifest is that of this version (a leading v aside) and
// platform; ErrOther says what it is of.
func (m Manifest) For(version, goos, arch string) error {
	if strings.TrimPrefix(m.Version, "v") != strings.TrimPrefix(version, "v") || m.OS != goos || m.Arch != arch {
		return fmt.Errorf("%w: it is of %s %s/%s, and %.*s %s/%s is wanted", ErrOther, m.Version, m.OS, m.Arch, maxVersion, version, goos, arch)
	}
	return nil
}

// Sum is the SHA-256 in bytes; the zero value where there is none.
func (m Manifest) Sum() (sum [32]byte) {
	b, err := hex.DecodeString(m.SHA256)
	if err == nil && len(b) == len(sum) {
		copy(sum[:], b)
	}
	return sum
}
