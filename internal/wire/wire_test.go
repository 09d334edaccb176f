package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/tokens"
)

// fill sets every field to something that is not its zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.String:
		v.SetString("größe <&> \u202e \"x\"\n")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(3 * time.Second))
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), reflect.ValueOf("value"))
	default:
		panic(v.Kind())
	}
}

// Every field of a spec crosses: one that is added to backend.Spec and not here
// would be lost without a word.
func TestSpecsCrossWhole(t *testing.T) {
	var spec backend.Spec
	fill(reflect.ValueOf(&spec).Elem())
	sent, err := wire.FromSpec(spec)
	require.NoError(t, err)
	data, err := wire.Encode(wire.Frame{Type: wire.Launch, ID: 1, Spec: sent})
	require.NoError(t, err)
	f, err := wire.Decode(data)
	require.NoError(t, err)
	require.True(t, reflect.DeepEqual(spec, f.Spec.Backend()), "a field is lost")

	spec.Env["key"] = "changed by the caller"
	require.Equal(t, "value", sent.Env["key"])
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q", sent, *sent, sent, sent, f), fmt.Sprint(f)} {
		require.NotContains(t, text, "value")
	}
}

func TestSpecsThatCannotCross(t *testing.T) {
	for name, spec := range map[string]backend.Spec{
		"ID":      {ID: strings.Repeat("x", wire.MaxID+1)},
		"Labels":  {ID: "a", Labels: map[string]string{"l": strings.Repeat("x", wire.MaxRunner)}},
		"Env":     {ID: "a", Env: map[string]string{"E": "\xff"}},
		"Command": {ID: "a", Command: []string{"\xff"}},
		"bytes":   {ID: "a", Env: map[string]string{"E": strings.Repeat("x", wire.MaxFrame)}},
	} {
		_, err := wire.FromSpec(spec)
		require.ErrorIs(t, err, backend.ErrInvalid, name)
		require.ErrorContains(t, err, name)
	}
}

func TestRunnersCrossWhole(t *testing.T) {
	code := 7
	now := time.Now()
	r := backend.Runner{
		ID: "id", Labels: map[string]string{"a": "b"}, State: backend.Failed, Host: "host", ExitCode: &code, OOMKilled: true, Error: "why",
		Created: now, Started: now.Add(time.Second), Finished: now.Add(time.Minute),
	}
	data, err := json.Marshal(wire.FromRunner(r))
	require.NoError(t, err)
	var got wire.Runner
	require.NoError(t, json.Unmarshal(data, &got))
	require.Equal(t, wire.FromRunner(r), got, "what is compared is what was sent")
	back := got.Backend("host")
	require.True(t, r.Created.Equal(back.Created) && r.Started.Equal(back.Started) && r.Finished.Equal(back.Finished))
	r.Created, r.Started, r.Finished = back.Created, back.Started, back.Finished
	require.Equal(t, r, back)

	token := tokens.New(tokens.Bootstrap).Reveal()
	sent := wire.FromRunner(backend.Runner{ID: "id", State: backend.Failed, Error: "env " + token + strings.Repeat("ö", wire.MaxText) + "\xff"})
	require.NotContains(t, sent.Error, token)
	require.LessOrEqual(t, len(sent.Error), wire.MaxText)
}

func TestErrorsKeepTheirClass(t *testing.T) {
	for _, is := range []error{
		backend.ErrExhausted, backend.ErrInvalid, backend.ErrUnavailable, backend.ErrRefused, backend.ErrExists, fs.ErrNotExist,
		errors.ErrUnsupported, context.DeadlineExceeded, context.Canceled, wire.ErrSuperseded, wire.ErrDuplicated, wire.ErrRemoved, wire.ErrStopping, wire.ErrViolation, wire.ErrRotated,
	} {
		before := fmt.Errorf("create runner x: %w: the engine's words", is)
		data, err := wire.Encode(wire.Frame{Type: wire.Answer, ID: 1, Error: wire.FromError(before)})
		require.NoError(t, err)
		f, err := wire.Decode(data)
		require.NoError(t, err)
		after := f.Error.Err()
		require.ErrorIs(t, after, is)
		require.Equal(t, before.Error(), after.Error())
		require.Equal(t, backend.IsDefinite(before), backend.IsDefinite(after))
		require.Equal(t, f.Error.Code, wire.FromError(after).Code, "both ways")
	}
	unknown := wire.FromError(errors.New("boom")).Err()
	require.False(t, backend.IsDefinite(unknown))
	require.False(t, backend.IsDefinite((&wire.Error{Code: "of-a-later-version"}).Err()), "what is not known is uncertain")
	require.NoError(t, wire.FromError(nil).Err())

	token := tokens.New(tokens.Bootstrap).Reveal()
	require.NotContains(t, wire.FromError(errors.New("got "+token)).Message, token)
	require.NotContains(t, (&wire.Error{Code: wire.Internal, Message: token}).Err().Error(), token)
}

func TestVersionsAgree(t *testing.T) {
	for _, c := range []struct {
		ours, theirs, version int
		ok                    bool
	}{{1, 1, 1, true}, {1, 2, 1, true}, {2, 1, 1, true}, {1, 3, 1, false}, {3, 1, 1, false}, {5, 4, 4, true}} {
		version, ok := wire.Agree(c.ours, c.theirs)
		require.Equal(t, c.ok, ok, "%+v", c)
		if ok {
			require.Equal(t, c.version, version, "%+v", c)
		}
	}
}

func TestTheLifetimesLabelIsTheProvisioners(t *testing.T) {
	require.Equal(t, provisioner.LabelMaxLifetime, wire.LabelMaxLifetime)
}

// The examples of the document are what the code reads and writes.
func TestTheDocumentsExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/agent-protocol.md")
	require.NoError(t, err)
	seen := map[wire.Type]bool{}
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSpace(line)
			if line == "" {
				continue
			}
			f, err := wire.Decode([]byte(line))
			require.NoError(t, err, line)
			again, err := wire.Encode(f)
			require.NoError(t, err)
			require.JSONEq(t, line, string(again), "a field of the example is not the code's")
			seen[f.Type] = true
		}
	}
	for _, kind := range []wire.Type{
		wire.Hello, wire.Welcome, wire.Ping, wire.Pong, wire.Bye, wire.Runners, wire.Changes, wire.Blind, wire.Answer, wire.Chunk,
		wire.Launch, wire.Remove, wire.List, wire.Prepare, wire.Logs, wire.Cancel, wire.Rotate, wire.Update, wire.Stats, wire.Facts,
	} {
		require.True(t, seen[kind], "no example of %s", kind)
	}
	for _, code := range []wire.Code{
		wire.Exhausted, wire.Invalid, wire.Unavailable, wire.Refused, wire.Exists, wire.NotFound, wire.Unsupported, wire.TimedOut, wire.Cancelled, wire.Internal,
		wire.Superseded, wire.Duplicated, wire.Removed, wire.Stopping, wire.Violation, wire.Rotated,
	} {
		require.Contains(t, string(page), "`"+string(code)+"`")
	}
}

// What is out of bounds, or lacks what its type needs, is no frame.
func TestBounds(t *testing.T) {
	long := strings.Repeat("x", wire.MaxID+1)
	many := func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	gpus := ""
	for i := range wire.MaxGPUs + 1 {
		gpus += fmt.Sprintf(`{"id":"%d"},`, i)
	}
	for _, text := range []string{
		`{"type":"rotate"}`, `{"type":"stats"}`, `{"type":"update","id":1}`, `{"type":"update","version":"v1"}`, `{"type":"facts"}`,
		`{"type":"update","id":1,"version":"` + long + `"}`, `{"type":"answer","id":1,"digest":"` + long + `"}`,
		`{"type":"answer","id":1,"stats":{"cpus":-1}}`, `{"type":"answer","id":1,"stats":{"load":1e300}}`, `{"type":"answer","id":1,"stats":{"disk":{"free":-1}}}`,
		`{"type":"facts","facts":{"cpus":-1}}`, `{"type":"facts","facts":{"memory":-1}}`, `{"type":"facts","facts":{"max_runners":-1}}`, `{"type":"facts","facts":{"disk":{"total":-1}}}`,
		`{"type":"facts","facts":{"gpus":[{"id":""}]}}`, `{"type":"facts","facts":{"gpus":[{"id":"a,b"}]}}`, `{"type":"facts","facts":{"runtimes":["a b"]}}`, `{"type":"facts","facts":{"gpus":[{"id":"a"},{"id":"a"}]}}`, `{"type":"facts","facts":{"gpus":[{"id":"` + long + `"}]}}`,
		`{"type":"facts","facts":{"gpus":[` + strings.TrimSuffix(gpus, ",") + `]}}`,
		`{"type":"facts","facts":{"runtimes":[""]}}`, `{"type":"facts","facts":{"runtimes":[` + many(wire.MaxRuntimes+1, `"r"`) + `]}}`,
		`{"type":"facts","facts":{"hints":{"k":"` + strings.Repeat("x", wire.MaxRunner) + `"}}}`,
		`{"type":"hello","hello":{"protocol":1,"agent":"a","facts":{"gpus":[{"id":"a"},{"id":"a"}]}}}`, `{"type":"hello","hello":{"protocol":1,"agent":"a","instance":"` + long + `","facts":{}}}`,
		`{"type":"launch","id":1,"spec":{"id":"x","gpu_ids":[` + many(wire.MaxGPUs+1, `"g"`) + `]}}`,
		`{"type":"launch","id":1,"spec":{"id":"x","credential":{"password":"` + strings.Repeat("x", wire.MaxCredential+1) + `"}}}`,
		`{"type":"prepare","id":1,"spec":{"credential":{"password":"` + strings.Repeat("x", wire.MaxCredential+1) + `"}}}`,
	} {
		_, err := wire.Decode([]byte(text))
		require.ErrorIs(t, err, wire.ErrFrame, "%.100s", text)
	}
	for _, text := range []string{
		`{"type":"rotate","id":1}`, `{"type":"stats","id":1}`, `{"type":"update","id":1,"version":"v1"}`, `{"type":"facts","facts":{}}`,
		`{"type":"answer","id":1,"stats":{"cpus":1.5,"load":0.1,"disk":{"free":1,"total":2}}}`,
	} {
		_, err := wire.Decode([]byte(text))
		require.NoError(t, err, text)
	}
}

func TestNothingPrintsAPassword(t *testing.T) {
	c, err := wire.FromCredential(&backend.Credential{Registry: "ghcr.io", Username: "ci", Password: "canary"})
	require.NoError(t, err)
	f := wire.Frame{Type: wire.Prepare, ID: 1, Spec: &wire.Spec{Image: "i", Credential: c}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%t"} {
		for _, shown := range []any{c, *c, f, f.Spec, *f.Spec, []any{*c}, struct{ C wire.Credential }{*c}} {
			require.NotContains(t, fmt.Sprintf(verb, shown), "canary", verb)
			require.NotContains(t, fmt.Sprintf(verb, shown), fmt.Sprintf("%x", "canary"), verb)
		}
	}
	require.Contains(t, fmt.Sprint(c), "ci@ghcr.io")
}

// Whatever a hub may add to a spec, the launch fits a frame.
func TestALaunchFits(t *testing.T) {
	odd := strings.Repeat("\x01", 1<<20)
	sent, err := wire.FromSpec(backend.Spec{ID: odd[:wire.MaxID], Env: map[string]string{"E": odd[:(wire.MaxSpec-2048)/6]}})
	require.NoError(t, err)
	sent.Credential, err = wire.FromCredential(&backend.Credential{Username: odd[:100], Password: odd[:wire.MaxCredential-100]})
	require.NoError(t, err)
	for range wire.MaxGPUs {
		sent.GPUIDs = append(sent.GPUIDs, strings.Repeat("x", wire.MaxID))
	}
	_, err = wire.Encode(wire.Frame{Type: wire.Launch, ID: 1, TimeoutMS: 1000, Spec: sent})
	require.NoError(t, err)
	_, err = wire.FromCredential(&backend.Credential{Password: "\xff"})
	require.ErrorIs(t, err, backend.ErrInvalid)
	_, err = wire.FromCredential(&backend.Credential{Password: odd[:wire.MaxCredential+1]})
	require.ErrorIs(t, err, backend.ErrInvalid)
}

func FuzzDecode(f *testing.F) {
	page, err := os.ReadFile("../../docs/agent-protocol.md")
	require.NoError(f, err)
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, `{"type"`) {
			f.Add([]byte(strings.TrimSpace(line)))
		}
	}
	for _, text := range []string{`{}`, `[]`, `null`, `{"type":"answer","id":-1}`, `{"type":"chunk","id":1,"data":"!"}`, `{"type":"runners","runners":null}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := wire.Decode(data)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrFrame)
			require.Less(t, len(err.Error()), 300, "an error does not quote what came")
			return
		}
		require.NotEmpty(t, frame.Type)
		require.NotPanics(t, func() { _ = fmt.Sprintf("%v %+v", frame, frame) })
		again, err := wire.Encode(frame)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrTooLarge) // quoting makes it longer
			return
		}
		back, err := wire.Decode(again)
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(frame, back) || sameText(t, again, back), "%s", again)
	})
}

// sameText: an empty map or list that comes back as none is the same frame.
func sameText(t *testing.T, text []byte, f wire.Frame) bool {
	again, err := wire.Encode(f)
	require.NoError(t, err)
	return string(text) == string(again)
}
