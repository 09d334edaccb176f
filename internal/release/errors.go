package release

import "errors"

var (
	// ErrManifest: the text is no manifest in canonical form, or says what can't be.
	ErrManifest = errors.New("release: malformed manifest")
	// ErrOther: the manifest is sound, and of another version or platform than asked for.
	ErrOther = errors.New("release: not the program asked for")
	// ErrSignature: the manifest is not signed, or not by the key asked for.
	ErrSignature = errors.New("release: signature")
	// ErrContent: the bytes are not those that the manifest names.
	ErrContent = errors.New("release: content differs from the manifest")
	// ErrKey: the text is no key. The text is never part of the error.
	ErrKey = errors.New("release: malformed key")
	// ErrVersion: the version can't be ordered: a development build, or no version.
	ErrVersion = errors.New("release: not the version of a release")
)
