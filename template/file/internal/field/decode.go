package field

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
)

// decodeFunc sets what a node says into a template.
type decodeFunc = func(d *Decoder, f *Field, n *document.Node, t *template.Template)

// maxFieldText is how long a text of a field may be, in bytes.
const maxFieldText = 32 << 10

// want tells what a field takes.
func (d *Decoder) want(f *Field, n *document.Node, what string) {
	message := "must be " + what + ", this is " + n.Describe()
	if n.Kind == document.Text && !n.Computed {
		if _, ok := document.ParseNumber(n.Text); ok && strings.Contains(what, "number") {
			message += ": write it without quotes"
		}
	}
	if n.Computed && n.Kind == document.Number && what == "text" {
		message += ": use string(…), or put text around the expression"
	}
	d.Fail(n.Pos, f.Name, "%s", message)
}

// plain checks a text of a field: not blank, no control characters, not endless.
// It returns it trimmed.
func (d *Decoder) plain(f *Field, n *document.Node) (string, bool) {
	s := strings.TrimSpace(n.Scalar())
	switch {
	case s == "":
		d.Fail(n.Pos, f.Name, "must not be blank")
	case len(s) > maxFieldText:
		d.Fail(n.Pos, f.Name, "is longer than %d KiB", maxFieldText>>10)
	case strings.ContainsFunc(s, document.IsControl):
		d.Fail(n.Pos, f.Name, "must not have control characters, this is %s", document.Quote(s))
	default:
		return s, true
	}
	return "", false
}

// textRule says more of a text.
type textRule int

const (
	anyText textRule = iota
	// oneWord has no white space.
	oneWord
	// oneWordOrID may also be a whole number, not below 0.
	oneWordOrID
)

func text(dst func(*template.Template) *string, rule textRule) decodeFunc {
	return func(d *Decoder, f *Field, n *document.Node, t *template.Template) {
		id := rule == oneWordOrID && n.Kind == document.Number && n.Number >= 0 && n.Number == math.Trunc(n.Number)
		if n.Kind != document.Text && !id {
			d.want(f, n, "text")
			return
		}
		s, ok := d.plain(f, n)
		if ok && rule != anyText && strings.ContainsAny(s, " \t") {
			d.Fail(n.Pos, f.Name, "must not have white space, this is %s", document.Quote(s))
			return
		}
		if ok {
			*dst(t) = s
		}
	}
}

func oneOf(dst func(*template.Template) *string, known []string) decodeFunc {
	return func(d *Decoder, f *Field, n *document.Node, t *template.Template) {
		word := n.Scalar() // 386 is a number in YAML
		if (n.Kind == document.Text || n.Kind == document.Number) && slices.Contains(known, word) {
			*dst(t) = word
			return
		}
		hint := d.Doc.Hint(word, known)
		if ours := foreign[strings.ToLower(word)]; slices.Contains(known, ours) {
			hint = "; did you mean " + ours + "?"
		}
		d.Fail(n.Pos, f.Name, "must be one of %s, this is %s%s", strings.Join(known, ", "), n.Describe(), hint)
	}
}

func aboveZero(dst func(*template.Template) *float64) decodeFunc {
	return func(d *Decoder, f *Field, n *document.Node, t *template.Template) {
		switch {
		case n.Kind != document.Number:
			d.want(f, n, "a number")
		case n.Number <= 0:
			d.Fail(n.Pos, f.Name, "must be above 0, this is %s", document.NumberText(n.Number))
		default:
			*dst(t) = n.Number
		}
	}
}

// wholeOf reads a whole number within bounds.
func (d *Decoder) wholeOf(f *Field, n *document.Node, low, high float64) (int64, bool) {
	switch {
	case n.Kind != document.Number:
		d.want(f, n, "a whole number")
	case n.Number != math.Trunc(n.Number):
		d.Fail(n.Pos, f.Name, "must be a whole number, this is %s", document.NumberText(n.Number))
	case n.Number < low || n.Number > high:
		d.Fail(n.Pos, f.Name, "must be %s to %s, this is %s", document.NumberText(low), document.NumberText(high), document.NumberText(n.Number))
	default:
		return int64(n.Number), true
	}
	return 0, false
}

func whole(dst func(*template.Template) *int, low, high int) decodeFunc {
	return func(d *Decoder, f *Field, n *document.Node, t *template.Template) {
		if v, ok := d.wholeOf(f, n, float64(low), float64(high)); ok {
			*dst(t) = int(v)
		}
	}
}

// boolean sets a flag; yes is its value where the field is true.
func boolean(dst func(*template.Template) *bool, yes bool) decodeFunc {
	return func(d *Decoder, f *Field, n *document.Node, t *template.Template) {
		if n.Kind != document.Bool {
			d.want(f, n, "true or false")
			return
		}
		*dst(t) = n.Flag == yes
	}
}

func size(dst func(*template.Template) *int64) decodeFunc {
	return func(d *Decoder, f *Field, n *document.Node, t *template.Template) {
		if n.Kind != document.Number && n.Kind != document.Text {
			d.want(f, n, "a size such as 512m, 4GiB or 1073741824")
			return
		}
		bytes, err := parseSize(n.Scalar())
		if err != nil {
			d.Fail(n.Pos, f.Name, "%v", err)
			return
		}
		*dst(t) = bytes
	}
}

func decodeLabels(d *Decoder, f *Field, n *document.Node, t *template.Template) {
	if n.Kind != document.List {
		d.want(f, n, "a list of labels")
		return
	}
	labels := make([]string, 0, len(n.Items))
	good := true
	for _, item := range n.Items {
		if item.Kind != document.Text {
			d.want(f, item, "text")
			good = false
			continue
		}
		if _, err := template.Canonical([]string{item.Text}); err != nil {
			d.Fail(item.Pos, f.Name, "%v", err)
			good = false
			continue
		}
		labels = append(labels, item.Text)
	}
	if !good {
		return
	}
	canonical, err := template.Canonical(labels)
	if err != nil {
		d.Fail(n.Pos, f.Name, "%v", err)
		return
	}
	t.Labels = canonical
}

func decodeGPUs(d *Decoder, f *Field, n *document.Node, t *template.Template) {
	if n.Kind == document.Text {
		if n.Text == "all" {
			t.GPUs = -1
			return
		}
		d.want(f, n, "a whole number or all")
		return
	}
	if v, ok := d.wholeOf(f, n, 0, maxGPUs); ok {
		t.GPUs = int(v)
	}
}

func decodePidsLimit(d *Decoder, f *Field, n *document.Node, t *template.Template) {
	v, ok := d.wholeOf(f, n, -1, 1<<22)
	if ok && v == 0 {
		d.Fail(n.Pos, f.Name, "must be 1 or more, or -1 for no limit, this is 0")
		return
	}
	if ok {
		t.PidsLimit = v
	}
}

// The pull policies, as package backend has them.
const (
	pullIfNotPresent = "if-not-present"
	PullIfOlder      = "if-older"
)

func decodePullPolicy(d *Decoder, f *Field, n *document.Node, t *template.Template) {
	known := []string{"always", pullIfNotPresent, "never"}
	switch {
	case n.Kind == document.Number:
		d.Fail(n.Pos, f.Name, "a duration needs a unit: write %ss, %sm or %sh", n.Scalar(), n.Scalar(), n.Scalar())
	case n.Kind != document.Text:
		d.want(f, n, "always, if-not-present, never or a duration")
	case slices.Contains(known, n.Text):
		t.PullPolicy = n.Text
	default:
		age, err := time.ParseDuration(n.Text)
		switch {
		case err != nil:
			d.Fail(n.Pos, f.Name, "must be always, if-not-present, never or a duration such as 24h, this is %s%s", document.Quote(n.Text), d.Doc.Hint(n.Text, known))
		case age <= 0:
			d.Fail(n.Pos, f.Name, "a duration must be above 0, this is %s", n.Text)
		default:
			t.PullPolicy, t.PullMaxAge = PullIfOlder, age
		}
	}
}

func duration(dst func(*template.Template) *time.Duration) decodeFunc {
	return func(d *Decoder, f *Field, n *document.Node, t *template.Template) {
		word := n.Scalar()
		if _, isNumber := document.ParseNumber(word); n.Kind == document.Number || n.Kind == document.Text && isNumber {
			d.Fail(n.Pos, f.Name, "a duration needs a unit: write %ss, %sm or %sh", word, word, word)
			return
		}
		if n.Kind != document.Text {
			d.want(f, n, "a duration such as 90s or 1h30m")
			return
		}
		v, err := time.ParseDuration(n.Text)
		switch {
		case err != nil:
			d.Fail(n.Pos, f.Name, "must be a duration such as 90s or 1h30m, this is %s", document.Quote(n.Text))
		case v <= 0:
			d.Fail(n.Pos, f.Name, "must be above 0, this is %s", n.Text)
		default:
			*dst(t) = v
		}
	}
}

func decodeEnv(d *Decoder, f *Field, n *document.Node, t *template.Template) {
	if n.Kind != document.Map {
		d.want(f, n, "a map from name to value")
		return
	}
	if len(n.Entries) > MaxEntries {
		d.Fail(n.Pos, f.Name, "more than %d entries", MaxEntries)
		return
	}
	env := make(map[string]string, len(n.Entries))
	for _, e := range n.Entries {
		switch {
		case e.Key == "" || strings.ContainsAny(e.Key, "= \t") || strings.ContainsFunc(e.Key, document.IsControl):
			d.Fail(e.Pos, f.Name, "%s is not a name of a variable", document.Quote(e.Key))
		case e.Val.Kind == document.List || e.Val.Kind == document.Map:
			d.Fail(e.Val.Pos, document.Join(f.Name, e.Key), "must be text, a number or a boolean, this is %s", e.Val.Kind)
		case len(e.Val.Text) > maxFieldText:
			d.Fail(e.Val.Pos, document.Join(f.Name, e.Key), "is longer than %d KiB", maxFieldText>>10)
		default:
			env[e.Key] = e.Val.Scalar()
		}
	}
	t.Env = env
}

func decodeTmpfs(d *Decoder, f *Field, n *document.Node, t *template.Template) {
	tmpfs := map[string]string{}
	add := func(at document.Pos, path, options string) {
		if target, ok := d.target(at, f.Name, path); ok {
			if _, twice := tmpfs[target]; twice {
				d.Fail(at, f.Name, "%s is there twice", target)
			}
			tmpfs[target] = options
		}
	}
	switch n.Kind {
	case document.List:
		for _, item := range n.Items {
			if item.Kind != document.Text {
				d.want(f, item, "a path")
				continue
			}
			add(item.Pos, item.Text, "")
		}
	case document.Map:
		for _, e := range n.Entries {
			if e.Val.Kind != document.Text && e.Val.Kind != document.Null {
				d.want(f, e.Val, "mount options")
				continue
			}
			add(e.Pos, e.Key, strings.TrimSpace(e.Val.Text))
		}
	default:
		d.want(f, n, "a map from path to options, or a list of paths")
		return
	}
	t.Tmpfs = tmpfs
}

// known capabilities of Linux, see capabilities(7).
var linuxCapabilities = strings.Fields(`ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN
	DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD
	NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT
	SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`)

// capabilities reads a list of them: in capitals, without CAP_, each once.
func capabilities(dst func(*template.Template) *[]string) decodeFunc {
	return func(d *Decoder, f *Field, n *document.Node, t *template.Template) {
		if n.Kind != document.List {
			d.want(f, n, "a list of capabilities")
			return
		}
		var out []string
		for _, item := range n.Items {
			name := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(item.Text)), "CAP_")
			switch {
			case item.Kind != document.Text:
				d.want(f, item, "text")
			case !slices.Contains(linuxCapabilities, name):
				d.Fail(item.Pos, f.Name, "unknown capability %s%s", document.Quote(item.Text), d.Doc.Hint(name, linuxCapabilities))
			case !slices.Contains(out, name):
				out = append(out, name)
			}
		}
		*dst(t) = out
	}
}

// words reads a list of words, or a text that is split into words.
func words(dst func(*template.Template) *[]string) decodeFunc {
	return func(d *Decoder, f *Field, n *document.Node, t *template.Template) {
		var out []string
		switch n.Kind {
		case document.Text:
			var err error
			if out, err = splitWords(n.Text); err != nil {
				d.Fail(n.Pos, f.Name, "%v", err)
				return
			}
		case document.List:
			for i, item := range n.Items {
				if item.Kind == document.Null || item.Kind == document.List || item.Kind == document.Map {
					d.Fail(item.Pos, f.Name+"["+strconv.Itoa(i)+"]", "must be text, this is %s", item.Kind)
					return
				}
				out = append(out, item.Scalar())
			}
		default:
			d.want(f, n, "a list of words, or text")
			return
		}
		if len(out) == 0 || out[0] == "" {
			d.Fail(n.Pos, f.Name, "must have a word that is not empty; leave the field out for the image's")
			return
		}
		*dst(t) = out
	}
}
