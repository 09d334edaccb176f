package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/slipway-ci/slipway/tokens"
)

// Enrolment is one under way: what is sent is the pair of agent and digest, the
// same however often it is sent.
type Enrolment struct {
	// Agent is the agent's id.
	Agent string
	// Digest is that of the credential which the enrolment is to give.
	Digest tokens.Digest
}

// enrolment is what is kept of one: the credential itself, and the digest of the
// one-time token that goes with it.
type enrolment struct {
	Hub   string `json:"hub"`
	For   string `json:"for"`
	Token string `json:"token"`
}

// EnrolledBy says whether it was this one-time token that enrolled the agent.
func (i Identity) EnrolledBy(hub string, once tokens.Token) bool {
	return i.Enrolled() && i.Hub == hub && i.For == once.Digest().String()
}

// BeginEnrolment makes a credential, unless one was made for this one-time token
// of this hub before, and keeps it before its digest is told to anybody.
func (f *Folder) BeginEnrolment(hub string, once tokens.Token) (e Enrolment, err error) {
	err = f.change(func() error {
		i, err := f.ensure()
		if err != nil {
			return err
		}
		kept, token, err := f.enrolment()
		if err != nil {
			return err
		}
		if kept.Hub != hub || kept.For != once.Digest().String() {
			token = tokens.New(tokens.Agent)
			if err := f.keep(enrolment{Hub: hub, For: once.Digest().String(), Token: token.Reveal()}); err != nil {
				return err
			}
		}
		e = Enrolment{Agent: i.Agent, Digest: token.Digest()}
		return nil
	})
	return e, err
}

func (f *Folder) keep(e enrolment) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return f.Write(enrolName, data)
}

// enrolment reads the one under way; zero: none, or one that makes no sense, which
// is begun anew.
func (f *Folder) enrolment() (enrolment, tokens.Token, error) {
	data, err := f.Read(enrolName)
	if errors.Is(err, fs.ErrNotExist) {
		return enrolment{}, tokens.Token{}, nil
	}
	if err != nil {
		return enrolment{}, tokens.Token{}, err
	}
	var e enrolment
	if json.Unmarshal(data, &e) != nil {
		return enrolment{}, tokens.Token{}, nil
	}
	token, err := tokens.Parse(e.Token)
	if err != nil || token.Kind() != tokens.Agent {
		return enrolment{}, tokens.Token{}, nil
	}
	return e, token, nil
}

// Place is what the hub has answered to an enrolment, see Identity.
type Place struct {
	Hub, Host, Name, Owner string
	InsecureHTTP           bool
}

// FinishEnrolment takes over what the hub has answered. The credential becomes the
// one in use.
func (f *Folder) FinishEnrolment(e Enrolment, to Place) error {
	return f.change(func() error {
		i, err := f.ensure()
		if err != nil {
			return err
		}
		kept, token, err := f.enrolment()
		if err != nil {
			return err
		}
		if token.Digest() != e.Digest {
			return fmt.Errorf("%w: another enrolment has begun meanwhile", ErrDamaged)
		}
		if i.Owner != "" {
			i.Former = append(i.Former, i.Owner)
		}
		i.Former = slices.DeleteFunc(i.Former, func(o string) bool { return o == to.Owner })
		i.Hub, i.InsecureHTTP, i.Host, i.Name, i.Owner = to.Hub, to.InsecureHTTP, to.Host, to.Name, to.Owner
		i.For, i.Digest = kept.For, e.Digest.String()
		if err := f.save(i); err != nil {
			return err
		}
		return f.settle(token)
	})
}

// settle makes the enrolment's credential the one in use. A crash before its end
// is mended by Settle: who the agent is says which credential is due.
func (f *Folder) settle(token tokens.Token) error {
	if err := f.putToken(tokenName, token); err != nil {
		return err
	}
	if err := f.drop(nextName); err != nil {
		return err
	}
	return f.drop(enrolName)
}

// Settle finishes an enrolment that a crash has cut off after the hub's answer was
// kept.
func (f *Folder) Settle() error {
	return f.change(func() error {
		i, err := f.Identity()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		_, token, err := f.enrolment()
		if err != nil || token.IsZero() || token.Digest().String() != i.Digest {
			return err
		}
		return f.settle(token)
	})
}

// Key reads the key that updates must be signed with; a folder without one is
// fs.ErrNotExist. It is no secret, and nobody but the agent's user may write it.
func (f *Folder) Key() ([]byte, error) {
	data, err := f.read(keyName, 0o022, "chmod 644")
	return bytes.TrimSpace(data), err
}

// PinKey keeps the key that updates must be signed with.
func (f *Folder) PinKey(key []byte) error {
	return f.Write(keyName, append(bytes.TrimSpace(key), '\n'))
}
