package identity_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/tokens"
)

const hub = "https://hub.example.com"

func open(t *testing.T) (*identity.Folder, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	f, err := identity.Open(path)
	require.NoError(t, err)
	return f, path
}

// enrol goes the whole way of an enrolment.
func enrol(t *testing.T, f *identity.Folder, once tokens.Token, host string) identity.Enrolment {
	t.Helper()
	e, err := f.BeginEnrolment(hub, once)
	require.NoError(t, err)
	require.NoError(t, f.FinishEnrolment(e, identity.Place{Hub: hub, Host: host, Name: "builder", Owner: host}))
	return e
}

func TestTheFolderIsTheAgentsAlone(t *testing.T) {
	f, path := open(t)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())

	enrol(t, f, tokens.New(tokens.Enrolment), "host-1")
	_, err = f.Rotate()
	require.NoError(t, err)
	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), "%s", e.Name())
	}

	token := filepath.Join(path, "token")
	require.NoError(t, os.Chmod(token, 0o640))
	_, err = f.Token()
	require.ErrorIs(t, err, identity.ErrOpen, "a token that the group can read is none")
	require.ErrorContains(t, err, "chmod 600 "+token)
	require.NoError(t, os.Chmod(token, 0o600))

	volume := t.TempDir() // as engines make them
	require.NoError(t, os.Chmod(volume, 0o755))
	_, err = identity.Open(volume)
	require.NoError(t, err)
	info, err = os.Stat(volume)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), "a folder without an agent is made ours")

	require.NoError(t, os.Chmod(path, 0o755))
	_, err = identity.Open(path)
	require.ErrorIs(t, err, identity.ErrOpen)
	require.ErrorContains(t, err, "chmod 700 "+path)
	_, err = identity.Find(filepath.Join(path, "nothing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestTheKeyMayBeReadAndNotWritten(t *testing.T) {
	f, path := open(t)
	_, err := f.Key()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, f.PinKey([]byte("key of some kind\n")))
	file := filepath.Join(path, "update-key.pub")
	require.NoError(t, os.Chmod(file, 0o644))
	key, err := f.Key()
	require.NoError(t, err)
	require.Equal(t, "key of some kind", string(key))
	require.NoError(t, os.Chmod(file, 0o664))
	_, err = f.Key()
	require.ErrorIs(t, err, identity.ErrOpen, "whoever can write the key signs the updates")
}

func TestTheIdIsMadeOnce(t *testing.T) {
	f, path := open(t)
	var ids sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			i, err := f.Ensure()
			if err == nil {
				ids.Store(i.Agent, true)
			}
		})
	}
	all.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	require.Equal(t, 1, n, "eight at once must agree on one id")

	i, err := f.Ensure()
	require.NoError(t, err)
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-`, i.Agent)
	require.False(t, i.Enrolled())
	require.NoError(t, os.WriteFile(filepath.Join(path, "agent.json"), []byte(`{"agent":"x"}`), 0o600))
	_, err = f.Ensure()
	require.ErrorIs(t, err, identity.ErrDamaged, "another id would make another agent of it: say so instead")
}

func TestOneAgentAtATime(t *testing.T) {
	f, _ := open(t)
	require.False(t, f.Locked())
	lock, err := f.Lock()
	require.NoError(t, err)
	require.True(t, f.Locked())
	_, err = f.Lock()
	require.ErrorIs(t, err, identity.ErrLocked)
	_, err = f.Ensure()
	require.NoError(t, err, "the files can be changed all the same")
	lock.Release()
	require.False(t, f.Locked())
}

func TestEnrolment(t *testing.T) {
	f, _ := open(t)
	_, err := f.Token()
	require.ErrorIs(t, err, identity.ErrNotEnrolled)
	once := tokens.New(tokens.Enrolment)
	first, err := f.BeginEnrolment(hub, once)
	require.NoError(t, err)
	again, err := f.BeginEnrolment(hub, once)
	require.NoError(t, err)
	require.Equal(t, first, again, "a lost answer is asked for with the same pair, also after a crash")
	_, err = f.Token()
	require.ErrorIs(t, err, identity.ErrNotEnrolled, "nothing is enrolled before the hub said so")

	require.NoError(t, f.FinishEnrolment(first, identity.Place{Hub: hub, Host: "host-1", Name: "builder", Owner: "host-1"}))
	token, err := f.Token()
	require.NoError(t, err)
	require.Equal(t, first.Digest, token.Digest(), "the hub knows the digest of this credential and of no other")
	i, err := f.Identity()
	require.NoError(t, err)
	require.True(t, i.Enrolled())
	require.True(t, i.EnrolledBy(hub, once))
	require.False(t, i.EnrolledBy("https://other.example.com", once))
	require.Equal(t, []string{i.Agent, "host-1"}, i.Owners())

	second := enrol(t, f, tokens.New(tokens.Enrolment), "host-2")
	require.Equal(t, first.Agent, second.Agent, "the agent's id is the same for ever")
	require.NotEqual(t, first.Digest, second.Digest)
	i, err = f.Identity()
	require.NoError(t, err)
	require.Equal(t, []string{i.Agent, "host-2", "host-1"}, i.Owners(), "what the former host has left can still be purged")
	enrol(t, f, tokens.New(tokens.Enrolment), "host-1")
	i, err = f.Identity()
	require.NoError(t, err)
	require.Equal(t, []string{i.Agent, "host-1", "host-2"}, i.Owners())
}

// TestEnrolmentCutOff stops an enrolment after each of its steps, as a crash does.
func TestEnrolmentCutOff(t *testing.T) {
	f, path := open(t)
	enrol(t, f, tokens.New(tokens.Enrolment), "host-1")
	_, err := f.Rotate()
	require.NoError(t, err)
	old, err := f.Token()
	require.NoError(t, err)

	once := tokens.New(tokens.Enrolment)
	e, err := f.BeginEnrolment(hub, once)
	require.NoError(t, err)
	require.NoError(t, f.Settle())
	token, err := f.Token()
	require.NoError(t, err)
	require.True(t, token.Equal(old), "until the hub has answered the old credential is the one in use")

	kept, err := os.ReadFile(filepath.Join(path, "enrol.json"))
	require.NoError(t, err)
	next, err := os.ReadFile(filepath.Join(path, "token.next"))
	require.NoError(t, err)
	require.NoError(t, f.FinishEnrolment(e, identity.Place{Hub: hub, Host: "host-1", Name: "builder", Owner: "host-1"}))
	// The identity was written, and nothing after it.
	require.NoError(t, os.WriteFile(filepath.Join(path, "token"), []byte(old.Reveal()), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(path, "enrol.json"), kept, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(path, "token.next"), next, 0o600))
	require.NoError(t, f.Settle())
	token, err = f.Token()
	require.NoError(t, err)
	require.Equal(t, e.Digest, token.Digest(), "the hub has dropped the old credential by now")
	left, err := f.Next()
	require.NoError(t, err)
	require.True(t, left.IsZero(), "a rotation of the former credential is over")
	require.NoFileExists(t, filepath.Join(path, "enrol.json"))
}

func TestRotation(t *testing.T) {
	f, _ := open(t)
	enrol(t, f, tokens.New(tokens.Enrolment), "host-1")
	old, err := f.Token()
	require.NoError(t, err)
	keys := f.Keyring(nil)
	require.True(t, keys.Token().Equal(old))

	digest, err := keys.Rotate(context.Background())
	require.NoError(t, err)
	again, err := keys.Rotate(context.Background())
	require.NoError(t, err)
	require.Equal(t, digest, again, "an answer that was lost is given again")
	next := keys.Token()
	require.Equal(t, digest, next.Digest(), "the newer one is tried first")

	keys.Refused(next)
	require.True(t, keys.Token().Equal(old), "the hub has not heard of it: the one in use")
	keys.Accepted(old)
	require.True(t, keys.Token().Equal(old), "and no refusal at each connection")
	require.True(t, f.Keyring(nil).Token().Equal(next), "a restart forgets the refusal")

	_, err = keys.Rotate(context.Background())
	require.NoError(t, err)
	require.True(t, keys.Token().Equal(next), "asked for again, it is tried again")
	keys.Accepted(next)
	token, err := f.Token()
	require.NoError(t, err)
	require.True(t, token.Equal(next), "what was welcomed is the one in use")
	left, err := f.Next()
	require.NoError(t, err)
	require.True(t, left.IsZero())
	other, err := keys.Rotate(context.Background())
	require.NoError(t, err)
	require.NotEqual(t, digest, other)
}

func TestBothCredentialsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := open(t)
		enrol(t, f, tokens.New(tokens.Enrolment), "host-1")
		old, err := f.Token()
		require.NoError(t, err)
		keys := f.Keyring(nil)
		digest, err := keys.Rotate(t.Context())
		require.NoError(t, err)
		for range 3 {
			next := keys.Token()
			require.Equal(t, digest, next.Digest())
			keys.Refused(next)
			require.True(t, keys.Token().Equal(old), "at once")
			keys.Refused(old)
			require.True(t, keys.Token().Equal(old), "no third try without a pause")
			time.Sleep(30 * time.Second)
		}
	})
}

func TestTheKeyringSurvivesAFolderThatCantBeRead(t *testing.T) {
	f, path := open(t)
	enrol(t, f, tokens.New(tokens.Enrolment), "host-1")
	keys := f.Keyring(nil)
	token := keys.Token()
	require.NoError(t, os.WriteFile(filepath.Join(path, "token"), []byte("garbage"), 0o600))
	require.True(t, keys.Token().Equal(token), "what was read before is good still")
}

func TestNoErrorTellsASecret(t *testing.T) {
	f, path := open(t)
	once := tokens.New(tokens.Enrolment)
	enrol(t, f, once, "host-1")
	_, err := f.Rotate()
	require.NoError(t, err)
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Trace})
	var secrets []string
	for _, name := range []string{"token", "token.next"} {
		data, err := os.ReadFile(filepath.Join(path, name))
		require.NoError(t, err)
		secrets = append(secrets, string(bytes.TrimSpace(data)))
		// Broken so that it is read, and repeated by whoever repeats what he reads.
		require.NoError(t, os.WriteFile(filepath.Join(path, name), append([]byte("x"), data...), 0o600))
	}
	keys := f.Keyring(log)
	fmt.Fprintln(&out, keys.Token())
	_, err = keys.Rotate(context.Background())
	fmt.Fprintln(&out, err)
	_, err = f.Token()
	fmt.Fprintln(&out, err)
	identityFile, err := os.ReadFile(filepath.Join(path, "agent.json"))
	require.NoError(t, err)
	out.Write(identityFile)
	for _, secret := range append(secrets, once.Reveal()) {
		require.NotContains(t, out.String(), secret[12:])
	}
	require.Contains(t, out.String(), "holds no agent's token")
}

func TestDestroyLeavesWhatIsNotOurs(t *testing.T) {
	f, path := open(t)
	enrol(t, f, tokens.New(tokens.Enrolment), "host-1")
	require.NoError(t, os.WriteFile(filepath.Join(path, "notes.txt"), nil, 0o600))
	require.NoError(t, f.Destroy())
	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.NoError(t, os.Remove(filepath.Join(path, "notes.txt")))
	require.NoError(t, f.Destroy())
	require.NoDirExists(t, path)
}
