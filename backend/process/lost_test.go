package process

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

var damages = map[string]func(t *testing.T, file string){
	"garbage":       func(t *testing.T, file string) { require.NoError(t, os.WriteFile(file, []byte("garbage\n"), 0o600)) },
	"empty":         func(t *testing.T, file string) { require.NoError(t, os.Truncate(file, 0)) },
	"another thing": func(t *testing.T, file string) { require.NoError(t, os.WriteFile(file, []byte("{}"), 0o600)) },
	"gone":          func(t *testing.T, file string) { require.NoError(t, os.Remove(file)) },
}

// Why: what is left out of a listing counts as ended, and its slot is given to another.
func TestRunnerWhoseStateCannotBeReadIsUnknownWhileItLives(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, Config{MaxRunners: 1})
			spec := shell(t, "exec sleep 600")
			spec.Labels = map[string]string{"template": "small"}
			before := until(t, b, launch(t, b, spec), backend.Running)
			damage(t, statePath(b.folder.runner(spec.ID)))

			r, listed := look(t, b, spec.ID)
			require.True(t, listed)
			require.Equal(t, backend.Runner{ID: spec.ID, State: backend.Unknown, Labels: spec.Labels, Created: before.Created, Started: before.Started}, r)
			r, listed = look(t, b, spec.ID)
			require.True(t, listed, "the second time too")
			require.Equal(t, spec.Labels, r.Labels)
			room, err := b.Capacity(within(t), []backend.Spec{spec})
			require.NoError(t, err)
			require.Equal(t, []int{0}, room, "it takes up room")

			again, err := New(b.config) // and who has never seen it knows that it is there
			require.NoError(t, err)
			r, listed = look(t, again, spec.ID)
			require.True(t, listed)
			require.Equal(t, backend.Unknown, r.State)
			require.NotZero(t, r.Created)
			require.ErrorIs(t, again.Launch(within(t), spec), backend.ErrExists)

			require.NoError(t, b.Remove(within(t), spec.ID), "it is asked to end by who knows it")
			_, listed = look(t, b, spec.ID)
			require.False(t, listed)
		})
	}
}

func TestRunnerWhoseStateCannotBeReadHasFailedWhenItsSupervisorIsDead(t *testing.T) {
	for name, damage := range damages {
		for _, listed := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := open(t, Config{})
				id := launch(t, b, shell(t, "exec sleep 600"))
				until(t, b, id, backend.Running)
				supervisor := stateOf(t, b, id).Supervisor
				damage(t, statePath(b.folder.runner(id)))
				require.NoError(t, signalHolder(supervisor, b.folder.lock(id), syscall.SIGKILL))
				eventually(t, func() bool { return !b.folder.lives(id) }, "it is dead")

				b, err := New(b.config) // nobody knows anything of it
				require.NoError(t, err)
				if listed {
					r, _ := look(t, b, id)
					require.Equal(t, backend.Failed, r.State)
					require.Contains(t, r.Error, "could not be read")
					require.Empty(t, alive(t, b, id), "it is told as ended")
				}
				require.NoError(t, b.Remove(within(t), id))
				_, there := look(t, b, id)
				require.False(t, there)
				require.NoDirExists(t, b.folder.runner(id))
			})
		}
	}
}

// How a runner ended is not lost with the file, where it was told before.
func TestEndThatWasToldIsRemembered(t *testing.T) {
	b := open(t, Config{})
	id := launch(t, b, shell(t, "exit 7"))
	before := ended(t, b, id)
	damages["garbage"](t, statePath(b.folder.runner(id)))
	r, listed := look(t, b, id)
	require.True(t, listed)
	require.Equal(t, before, r)
}

func TestSpoiledStateIsWrittenAgainWhenTheRunnerEnds(t *testing.T) {
	b := open(t, Config{})
	gate := filepath.Join(t.TempDir(), "gate")
	spec := shell(t, "until test -e "+gate+"; do sleep 0.01; done; exit 7")
	spec.Labels = map[string]string{"template": "small"}
	launch(t, b, spec)
	damages["garbage"](t, statePath(b.folder.runner(spec.ID)))
	until(t, b, spec.ID, backend.Unknown)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	r := ended(t, b, spec.ID)
	require.Equal(t, 7, *r.ExitCode)
	require.Equal(t, spec.Labels, r.Labels)
}
