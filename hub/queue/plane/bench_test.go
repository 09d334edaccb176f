package plane_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue/plane"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
	"github.com/slipway-ci/slipway/provisioner"
)

// liveRunners are runners of a control plane as a loop sees them: minted, launched,
// reported, and not enrolled.
func liveRunners(b *testing.B, n int) (*plane.ControlPlane, []provisioner.Ref, []provisioner.Event) {
	plane, err := plane.New(b.Context(), queuetest.New(b).Queue, plane.Config{RunnerURL: "http://127.0.0.1:1"})
	require.NoError(b, err)
	refs, events := make([]provisioner.Ref, n), make([]provisioner.Event, n)
	for i := range refs {
		id := uuid.Must(uuid.NewV7()).String()
		refs[i] = provisioner.Ref{ID: id}
		events[i] = provisioner.Event{Runner: id, State: provisioner.EventRunning, At: time.Now(), Labels: map[string]string{
			provisioner.LabelTemplate: "set-1", provisioner.LabelLabels: "linux,x64",
		}}
	}
	require.NoError(b, plane.Report(b.Context(), events))
	return plane, refs, events
}

// BenchmarkFacts20000 is what a loop asks every ten seconds.
func BenchmarkFacts20000(b *testing.B) {
	plane, refs, _ := liveRunners(b, 20_000)
	for b.Loop() {
		facts, err := plane.Facts(b.Context(), refs)
		if err != nil || len(facts) != len(refs) {
			b.Fatal(len(facts), err)
		}
	}
}

// BenchmarkReport1000 is one report of runners that live on.
func BenchmarkReport1000(b *testing.B) {
	plane, _, events := liveRunners(b, 1000)
	for b.Loop() {
		if err := plane.Report(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPoll20000 is one look of a poll: runners that have what they need must
// not weigh on it, for it is made at every event, and holds the writer.
func BenchmarkPoll20000(b *testing.B) {
	plane, _, _ := liveRunners(b, 20_000)
	ad := provisioner.Advertisement{MaxReservations: 100, Templates: []provisioner.Slots{{Template: "set-1", Labels: []string{"linux", "x64"}, Free: 100}}}
	for b.Loop() {
		if _, err := plane.Poll(b.Context(), ad); err != nil {
			b.Fatal(err)
		}
	}
}
