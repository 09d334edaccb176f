package scalesets

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
	"github.com/slipway-ci/slipway/template/file"
)

// CredentialSpec is a user of a registry. It prints without its password.
type CredentialSpec struct {
	// Registry is the registry's host, such as ghcr.io; maybe as a URL, or any of
	// Docker Hub's names.
	Registry string
	// Username and Password are what docker login takes.
	Username, Password string
}

// Format prints no password, whatever the verb.
func (c CredentialSpec) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%s@%s", c.Username, c.Registry)
}

// RegistryCredential is a credential as it is told: without the password.
type RegistryCredential struct {
	Name string
	// Registry is in its canonical form: a host, in lower case, maybe with a port.
	Registry  string
	Username  string
	CreatedAt time.Time
	UpdatedAt time.Time
	// Problem says why its password can't be read any more, and what to do; empty: it
	// can. Credentials alone tells it.
	Problem string

	id     string // what the password is bound to
	sealed []byte
}

const (
	maxUsername = 255
	maxPassword = 64 << 10
)

func (c CredentialSpec) normal(name string) (CredentialSpec, error) {
	if problem := file.CheckName(name); problem != "" {
		return c, invalid("name", "is %.70q: %s", name, problem)
	}
	host, ok := canonicalRegistry(c.Registry)
	switch {
	case !ok:
		return c, invalid("registry", "is %.100q: a host is needed, such as ghcr.io or registry.example.com:5000", c.Registry)
	case c.Username == "" || len(c.Username) > maxUsername || strings.ContainsFunc(c.Username, unicode.IsControl) || strings.Contains(c.Username, ":"):
		return c, invalid("username", "must have 1 to %d characters, no control characters and no colon", maxUsername)
	case c.Password == "" || len(c.Password) > maxPassword:
		return c, invalid("password", "must have 1 to %d bytes", maxPassword)
	}
	c.Registry = host
	return c, nil
}

// SetCredential makes a credential, or replaces it. ErrInvalid. ErrInUse: scale sets
// use it for images of another registry.
func (r *Registry) SetCredential(ctx context.Context, name string, spec CredentialSpec) (c RegistryCredential, err error) {
	if spec, err = spec.normal(name); err != nil {
		return c, err
	}
	err = r.write(ctx, func(t *tx) error {
		all, err := t.credentials()
		if err != nil {
			return err
		}
		if before, ok := all[name]; ok && before.Registry != spec.Registry {
			if err := t.unused(name); err != nil {
				return err
			}
		}
		if _, err := t.tick(); err != nil {
			return err
		}
		c, err = r.putCredential(t, name, cmp.Or(all[name].id, newID()), spec)
		t.tell("credential-set", "credential/"+name, "set for "+spec.Registry)
		return err
	})
	if err != nil {
		return RegistryCredential{}, fmt.Errorf("scalesets: set credential %s: %w", name, err)
	}
	return c, nil
}

func (r *Registry) putCredential(t *tx, name, id string, spec CredentialSpec) (RegistryCredential, error) {
	sealed := r.cfg.Vault.Seal(vault.RegistryCredential.Place(id), []byte(spec.Password))
	now := t.now.UnixMilli()
	_, err := t.Exec(`INSERT INTO registry_credentials (id, name, registry, username, secret, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET registry = excluded.registry, username = excluded.username, secret = excluded.secret, updated_at = excluded.updated_at`,
		id, name, spec.Registry, spec.Username, sealed, now, now)
	if err != nil {
		return RegistryCredential{}, err
	}
	all, err := t.credentials()
	return all[name], err
}

// unused is ErrInUse with the names of the scale sets that use the credential.
func (t *tx) unused(credential string) error {
	users, err := store.All(t.Tx, store.Value[string], `SELECT name FROM scale_sets WHERE credential <> '' AND credential = ? ORDER BY name`, credential)
	if err != nil || len(users) == 0 {
		return err
	}
	return fmt.Errorf("%w by %s", ErrInUse, strings.Join(users, ", "))
}

// DeleteCredential deletes a credential. ErrNotFound. ErrInUse: a scale set names it.
func (r *Registry) DeleteCredential(ctx context.Context, name string) error {
	err := r.write(ctx, func(t *tx) error {
		if err := t.unused(name); err != nil {
			return err
		}
		n, err := t.Exec(`DELETE FROM registry_credentials WHERE name = ?`, name)
		switch {
		case err != nil:
			return err
		case n == 0:
			return ErrNotFound
		}
		t.tell("credential-deleted", "credential/"+name, "deleted")
		_, err = t.tick()
		return err
	})
	if err != nil {
		return fmt.Errorf("scalesets: delete credential %s: %w", name, err)
	}
	return nil
}

// Credentials lists the credentials by name.
func (r *Registry) Credentials(ctx context.Context) (out []RegistryCredential, err error) {
	err = r.read(ctx, func(t *tx) error {
		all, err := t.credentials()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			c := all[name]
			if _, err := r.open(c); err != nil {
				c.Problem = unreadable(c, err)
			}
			c.sealed = nil
			out = append(out, c)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("scalesets: list credentials: %w", err)
	}
	return out, nil
}

func (t *tx) credentials() (map[string]RegistryCredential, error) {
	out := map[string]RegistryCredential{}
	_, err := store.All(t.Tx, func(row store.Row) (_ struct{}, err error) {
		var c RegistryCredential
		var created, updated int64
		err = row.Scan(&c.id, &c.Name, &c.Registry, &c.Username, &c.sealed, &created, &updated)
		c.CreatedAt, c.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
		out[c.Name] = c
		return struct{}{}, err
	}, `SELECT id, name, registry, username, secret, created_at, updated_at FROM registry_credentials`)
	return out, err
}

// Credential is what a scale set's image is pulled with: nil where it names no
// credential, is not there any more, or the image is from another registry than the
// credential's. For fleet.Config, just before a launch: the caller keeps it no longer.
func (r *Registry) Credential(ctx context.Context, template, image string) (c *backend.Credential, err error) {
	var row RegistryCredential
	var found bool
	err = r.read(ctx, func(t *tx) error {
		row, found, err = store.One(t.Tx, func(row store.Row) (c RegistryCredential, err error) {
			return c, row.Scan(&c.id, &c.Name, &c.Registry, &c.Username, &c.sealed)
		}, `SELECT c.id, c.name, c.registry, c.username, c.secret FROM scale_sets s JOIN registry_credentials c ON c.name = s.credential
			WHERE s.name = ? AND s.credential <> ''`, template)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("scalesets: read credential of %s: %w", template, err)
	}
	if !found || row.Registry != imageRegistry(image) {
		return nil, nil
	}
	password, err := r.open(row)
	if err != nil {
		return nil, fmt.Errorf("scalesets: open credential %s of %s: %s: %w", row.Name, template, unreadable(row, err), err)
	}
	return &backend.Credential{Registry: row.Registry, Username: row.Username, Password: string(password)}, nil
}

func (r *Registry) open(c RegistryCredential) ([]byte, error) {
	return r.cfg.Vault.Open(vault.RegistryCredential.Place(c.id), c.sealed)
}

// unreadable says why a password can't be opened, and what to do.
func unreadable(c RegistryCredential, err error) string {
	if errors.Is(err, vault.ErrKey) {
		return fmt.Sprintf("sealed with key %s that is gone: set it again", vault.SealedWith(c.sealed))
	}
	return "damaged: set it again"
}

func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		panic(err) // no randomness
	}
	return id.String()
}

// MarshalJSON writes no password: a spec that slips into JSON or a log stays hidden.
func (c CredentialSpec) MarshalJSON() ([]byte, error) { return json.Marshal(fmt.Sprint(c)) }
