package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrFrame: what came is no frame of this protocol. Its text is not told.
var ErrFrame = errors.New("wire: bad frame")

// ErrTooLarge: a frame would exceed MaxFrame.
var ErrTooLarge = errors.New("wire: frame too large")

// Encode makes the text of a frame.
func Encode(f Frame) ([]byte, error) {
	data, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("wire: encode %s: %w", f.Type, err)
	}
	if len(data) > MaxFrame {
		return nil, fmt.Errorf("encode %s: %d bytes: %w", f.Type, len(data), ErrTooLarge)
	}
	return data, nil
}

// Decode reads the text of a frame and checks that what its type needs is there
// and within the limits. Fields that it does not know are passed over, and so
// are types: a later version may have more.
func Decode(data []byte) (Frame, error) {
	if len(data) > MaxFrame {
		return Frame{}, fmt.Errorf("%w: %d bytes", ErrFrame, len(data))
	}
	if !utf8.Valid(data) {
		return Frame{}, fmt.Errorf("%w: not UTF-8", ErrFrame)
	}
	var f Frame
	if err := json.Unmarshal(data, &f); err != nil {
		return Frame{}, fmt.Errorf("%w: not its JSON", ErrFrame) // the decoder's text may quote a secret
	}
	if err := f.check(); err != nil {
		return Frame{}, fmt.Errorf("%w: %q: %w", ErrFrame, clip(string(f.Type), 32), err)
	}
	return f, nil
}

var (
	errMissing = errors.New("a field is missing")
	errBounds  = errors.New("a field is out of bounds")
)

func (f Frame) check() error {
	if f.TimeoutMS < 0 || f.TimeoutMS > MaxTimeout.Milliseconds() || f.Tail < 0 || len(f.Runner) > MaxID || len(f.Data) > MaxChunk ||
		len(f.Digest) > MaxID || len(f.Version) > MaxID {
		return errBounds
	}
	if err := errors.Join(f.Error.check(), f.Stats.check()); err != nil {
		return err
	}
	switch f.Type {
	case "":
		return errMissing
	case Hello:
		return f.Hello.check()
	case Welcome:
		return f.Welcome.check()
	case Launch, Prepare:
		return f.checkSpec()
	case Remove, Logs:
		return need(f.ID != 0 && f.Runner != "")
	case List, Cancel, Answer, Chunk, Rotate, Stats:
		return need(f.ID != 0)
	case Update:
		return need(f.ID != 0 && f.Version != "")
	case Facts:
		if f.Facts == nil {
			return errMissing
		}
		return f.Facts.check()
	case Bye, Blind:
		return need(f.Error != nil)
	case Runners:
		return f.List.check()
	case Changes:
		return f.Changes.check()
	default:
		return nil
	}
}

func need(there bool) error {
	if !there {
		return errMissing
	}
	return nil
}

func within(ok bool) error {
	if !ok {
		return errBounds
	}
	return nil
}

func (f Frame) checkSpec() error {
	if f.ID == 0 || f.Spec == nil || f.Type == Launch && f.Spec.ID == "" {
		return errMissing
	}
	return errors.Join(within(len(f.Spec.ID) <= MaxID && len(f.Spec.GPUIDs) <= MaxGPUs), f.Spec.Credential.check())
}

func (g *Greeting) check() error {
	if g == nil || g.Agent == "" || g.Protocol < 1 {
		return errMissing
	}
	return errors.Join(within(len(g.Agent) <= MaxID && len(g.Engine) <= MaxID && len(g.Instance) <= MaxID && len(g.Version) <= MaxID), g.Facts.check())
}

func (h *HostFacts) check() error {
	size := len(h.OS) + len(h.Arch) + len(h.EngineVersion)
	for k, v := range h.Hints {
		size += len(k) + len(v)
	}
	for _, runtime := range h.Runtimes {
		if !IsName(runtime) {
			return errBounds
		}
	}
	ids := map[string]bool{}
	for _, gpu := range h.GPUs {
		if !IsName(gpu.ID) || len(gpu.Name) > MaxID || ids[gpu.ID] {
			return errBounds
		}
		ids[gpu.ID] = true
	}
	return errors.Join(h.Disk.check(), within(size <= MaxRunner && len(h.Hints) <= MaxHints && len(h.Runtimes) <= MaxRuntimes && len(h.GPUs) <= MaxGPUs &&
		h.CPUs >= 0 && h.CPUs <= MaxCPUs && h.Memory >= 0 && h.MaxRunners >= 0))
}

func (d Disk) check() error { return within(d.Free >= 0 && d.Total >= 0) }

func (u *Usage) check() error {
	if u == nil {
		return nil
	}
	return errors.Join(u.Disk.check(), within(u.CPUs >= 0 && u.CPUs <= MaxUsage && u.Memory >= 0 && u.Load >= 0 && u.Load <= MaxUsage))
}

func (t *Terms) check() error {
	if t == nil || t.HeartbeatMS <= 0 {
		return errMissing
	}
	return within(t.HeartbeatMS <= MaxTimeout.Milliseconds() && t.Protocol >= 0 && (t.Protocol > 0 || t.NeedsUpdate))
}

func (l *Listed) check() error {
	if l == nil {
		return errMissing
	}
	return errors.Join(checkRunners(l.Runners), checkIDs(l.Undecided))
}

func (c *Changed) check() error {
	if c == nil {
		return errMissing
	}
	return errors.Join(checkRunners(c.Runners), checkIDs(c.Gone))
}

func checkRunners(runners []Runner) error {
	for i := range runners {
		if err := runners[i].check(); err != nil {
			return err
		}
	}
	return within(len(runners) <= MaxList)
}

func checkIDs(ids []string) error {
	for _, id := range ids {
		if id == "" || len(id) > MaxID {
			return errBounds
		}
	}
	return within(len(ids) <= MaxList)
}

// IsName says whether the text can be the name of a runtime or the id of a GPU: 1
// to MaxID printable characters of ASCII, none of which needs quoting anywhere.
func IsName(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || strings.IndexByte("\"'\\,<>&`$;|", c) >= 0 {
			return false
		}
	}
	return text != "" && len(text) <= MaxID
}

// Clip makes a text short enough for a name, such as a version.
func Clip(text string) string { return clip(text, MaxID) }

// ClipText makes a text that is told to people fit to be sent, with at most n
// bytes: clipped, and cleaned of tokens.
func ClipText(s string, n int) string { return clip(text(s), n) }

// clip cuts a text to at most n bytes, between characters.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
