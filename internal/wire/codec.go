package wire

import (
	"encoding/json"
	"errors"
	"fmt"
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
	if f.TimeoutMS < 0 || f.TimeoutMS > MaxTimeout.Milliseconds() || f.Tail < 0 || len(f.Runner) > MaxID || len(f.Data) > MaxChunk {
		return errBounds
	}
	if err := f.Error.check(); err != nil {
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
	case List, Cancel, Answer, Chunk:
		return need(f.ID != 0)
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
	return within(len(f.Spec.ID) <= MaxID)
}

func (g *Greeting) check() error {
	if g == nil || g.Agent == "" || g.Protocol < 1 {
		return errMissing
	}
	size := len(g.Facts.OS) + len(g.Facts.Arch)
	for k, v := range g.Facts.Hints {
		size += len(k) + len(v)
	}
	return within(len(g.Agent) <= MaxID && len(g.Engine) <= MaxID && len(g.Version) <= MaxID && size <= MaxRunner &&
		len(g.Facts.Hints) <= maxHints && g.Facts.CPUs >= 0 && g.Facts.CPUs <= maxCPUs && g.Facts.Memory >= 0)
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
