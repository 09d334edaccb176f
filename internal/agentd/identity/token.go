package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/slipway-ci/slipway/tokens"
)

// token reads a credential from a file. The error never tells the content.
func (f *Folder) token(name string) (tokens.Token, error) {
	data, err := f.Read(name)
	if err != nil {
		return tokens.Token{}, err
	}
	token, err := tokens.Parse(string(bytes.TrimSpace(data)))
	if err != nil || token.Kind() != tokens.Agent {
		return tokens.Token{}, fmt.Errorf("%w: %s holds no agent's token", ErrDamaged, f.Join(name))
	}
	return token, nil
}

func (f *Folder) putToken(name string, token tokens.Token) error {
	return f.Write(name, []byte(token.Reveal()+"\n"))
}

// Token reads the credential in use. None is ErrNotEnrolled.
func (f *Folder) Token() (tokens.Token, error) {
	token, err := f.token(tokenName)
	if errors.Is(err, fs.ErrNotExist) {
		return tokens.Token{}, fmt.Errorf("%w: %s", ErrNotEnrolled, f.path)
	}
	return token, err
}

// Next reads the credential that a rotation has made; the zero Token: none.
func (f *Folder) Next() (tokens.Token, error) {
	token, err := f.token(nextName)
	if errors.Is(err, fs.ErrNotExist) {
		return tokens.Token{}, nil
	}
	return token, err
}

// Rotate makes the next credential and keeps it before it is told. One that was
// made and not used yet is told again: the answer may have been lost.
func (f *Folder) Rotate() (digest tokens.Digest, err error) {
	err = f.change(func() error {
		next, err := f.Next()
		if err != nil {
			return err
		}
		if next.IsZero() {
			next = tokens.New(tokens.Agent)
			if err := f.putToken(nextName, next); err != nil {
				return err
			}
		}
		digest = next.Digest()
		return nil
	})
	return digest, err
}

// Promote makes the next credential the one in use, if it is token.
func (f *Folder) Promote(token tokens.Token) error {
	return f.change(func() error {
		next, err := f.Next()
		if err != nil || !next.Equal(token) {
			return err
		}
		return f.rename(nextName, tokenName)
	})
}
