package shipfoxapi_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// probe is one line of testdata/probe-*.txt: a request by its name, and what the
// real server answered. A body may be cut.
type probe struct {
	name, method, path string
	status             int
	retry              string
	body               string
	took               time.Duration
}

func readProbes(t *testing.T, file string) (probes []probe, last string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		parts := strings.Split(lines.Text(), " | ")
		if len(parts) < 4 {
			last = lines.Text()
			continue
		}
		p := probe{name: parts[0], retry: "-"}
		p.method, p.path, _ = strings.Cut(parts[1], " ")
		p.status, err = strconv.Atoi(parts[2])
		require.NoError(t, err)
		rest := parts[3:]
		if after, ok := strings.CutPrefix(rest[0], "retry-after="); ok {
			p.retry, rest = after, rest[1:]
		}
		p.body = rest[0]
		if len(rest) > 1 {
			p.took, err = time.ParseDuration(rest[1])
			require.NoError(t, err)
		}
		probes = append(probes, p)
	}
	require.NoError(t, lines.Err())
	return probes, last
}

// mend closes a cut JSON text after its last whole value.
func mend(text string) string {
	var stack []byte
	good, closers := "", ""
	inString, escaped := false, false
	for i := range len(text) {
		c := text[i]
		switch {
		case inString:
			if escaped = c == '\\' && !escaped; c == '"' && text[i-1] != '\\' {
				inString = false
			}
			continue
		case c == '"':
			inString = true
			continue
		case c == '{' || c == '[':
			stack = append(stack, c)
			good, closers = text[:i+1], closing(stack)
		case c == '}' || c == ']':
			stack = stack[:len(stack)-1]
			good, closers = text[:i+1], closing(stack)
		case c == ',':
			good, closers = text[:i], closing(stack)
		}
	}
	return good + closers
}

func closing(stack []byte) (out string) {
	for _, c := range stack {
		out = map[byte]string{'{': "}", '[': "]"}[c] + out
	}
	return out
}

// compare checks an answer against a recorded one: the same fields, and the same
// values but for ids, times and tokens. Of a cut record, what is there counts.
func compare(t *testing.T, recorded, got string) {
	t.Helper()
	if json.Valid([]byte(recorded)) || recorded == "" {
		require.Equal(t, plain(decode(t, []byte(recorded))), plain(decode(t, []byte(got))))
		return
	}
	mended := mend(recorded)
	require.True(t, json.Valid([]byte(mended)), mended)
	contains(t, plain(decode(t, []byte(mended))), plain(decode(t, []byte(got))), "")
}

func contains(t *testing.T, want, got any, at string) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		require.True(t, ok, "%s: %v is no object", at, got)
		for key := range want {
			require.Contains(t, object, key, at)
			contains(t, want[key], object[key], at+"."+key)
		}
	case []any:
		list, ok := got.([]any)
		require.True(t, ok, "%s: %v is no array", at, got)
		require.GreaterOrEqual(t, len(list), len(want), at)
		for i := range want {
			contains(t, want[i], list[i], fmt.Sprintf("%s[%d]", at, i))
		}
	default:
		require.Equal(t, want, got, at)
	}
}

// prober makes the request of each name, and remembers what later ones need.
type prober struct {
	*world
	reservation, minted string
	warm1, warm2        [2]string // runner instance, bootstrap token
	control, session    string
}

func TestProbesOfHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &prober{world: newWorld(t, queue.GenerationHead)}
		probes, _ := readProbes(t, "probe-head.txt")
		require.Len(t, probes, 69, "every line of the recording is replayed")
		for _, probe := range probes {
			began := time.Now()
			rec := p.do(p.head(probe))
			took := time.Since(began)
			require.Equal(t, probe.status, rec.Code, "%s: %s", probe.name, rec.Body)
			compare(t, probe.body, rec.Body.String())
			require.InDelta(t, probe.took.Seconds(), took.Seconds(), 0.3, "%s: took %s", probe.name, took)
			p.learn(probe.name, rec.Body.Bytes())
		}
	})
}

const pollOf = `{"wait_seconds":%d,"max_reservations":%d,"templates":[{"template_key":"t","labels":["probe"],"available_slots":%d,"starting":0,"running":0}]}`

// head makes the requests of the newest generation.
func (p *prober) head(probe probe) request {
	r := request{method: probe.method, path: probe.path, auth: "Bearer " + p.provisioner}
	group, _, _ := strings.Cut(probe.name, " ")
	switch group {
	case "me":
		r.auth = p.headIdentity(probe.name)
	case "poll":
		p.headPoll(probe.name, &r)
	case "batch":
		r.body = p.headBatch(probe.name)
	case "attach":
		p.headAttach(probe.name, &r)
	case "assign", "report", "reconcile":
		p.headReport(probe.name, &r)
	case "exchange", "control", "enroll", "assignment", "register", "jobs/request":
		p.headRunner(probe.name, &r)
	default:
		r.body = `{}`
	}
	return r
}

func (p *prober) headIdentity(name string) string {
	switch name {
	case "me no auth":
		return ""
	case "me wrong type (mrt)":
		return "Bearer " + p.manual
	case "me unknown pt":
		return "Bearer " + tokens.New(tokens.Provisioner).Reveal()
	case "me garbage":
		return "Bearer garbage"
	case "me lowercase bearer":
		return "bearer " + p.provisioner
	}
	return "Bearer " + p.provisioner
}

func (p *prober) headPoll(name string, r *request) {
	r.body = map[string]string{
		"poll ok wait0":                          fmt.Sprintf(pollOf, 0, 10, 5),
		"poll max_res 0 wait 30 returns at once": fmt.Sprintf(pollOf, 30, 0, 5),
		"poll slots 0 wait 30 returns at once":   fmt.Sprintf(pollOf, 30, 10, 0),
		"poll templates [] wait 30":              `{"wait_seconds":30,"max_reservations":10,"templates":[]}`,
		"poll wait 2":                            fmt.Sprintf(pollOf, 2, 10, 5),
		"poll max_res 1001":                      fmt.Sprintf(pollOf, 0, 1001, 5),
		"poll no max_res":                        `{"wait_seconds":0,"templates":[]}`,
		"poll wait fractional":                   `{"wait_seconds":1.5,"max_reservations":10,"templates":[]}`,
		"poll unknown field":                     `{"wait_seconds":0,"max_reservations":10,"templates":[],"foo":1}`,
		"poll bad label":                         strings.Replace(fmt.Sprintf(pollOf, 0, 10, 5), `"probe"`, `"a b"`, 1),
		"poll empty labels":                      strings.Replace(fmt.Sprintf(pollOf, 0, 10, 5), `"probe"`, ``, 1),
		"poll ttl 0":                             `{"wait_seconds":0,"reservation_ttl_seconds":0,"max_reservations":10,"templates":[]}`,
		"poll malformed json":                    `{"wait_seconds":`,
		"poll empty json body":                   ``,
		"poll text/plain":                        `hello`,
		"poll 1001 templates":                    pollTemplates(1001),
		"poll 1000 templates":                    pollTemplates(1000),
		"poll 1.2MB body":                        `{"foo":"` + strings.Repeat("x", 1_200_000) + `"}`,
	}[name]
	if name == "poll text/plain" {
		r.contentType = "text/plain"
	}
}

func pollTemplates(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"template_key":"t%d","labels":["probe","l%d"],"available_slots":1,"starting":0,"running":0}`, i, i)
	}
	return `{"wait_seconds":0,"max_reservations":100,"templates":[` + strings.Join(list, ",") + `]}`
}

func (p *prober) headBatch(name string) string {
	entries := func(n int) string {
		return `{"runner_instances":[` + strings.TrimSuffix(strings.Repeat(`{"template_key":"t"},`, n), ",") + `]}`
	}
	return map[string]string{
		"batch 500": entries(500), "batch 501": entries(501), "batch 0": entries(0), "batch warm": entries(1), "batch warm 2": entries(1),
		"batch unknown field":       `{"runner_instances":[{"template_key":"t"}],"foo":1}`,
		"batch unknown reservation": `{"runner_instances":[{"reservation_id":"4f278286-f039-4e18-bd44-7967a0b80fb9"}]}`,
	}[name]
}

const probeID = "probe-1795301825543"

func (p *prober) headAttach(name string, r *request) {
	path := func(id string) string { return "/provisioners/runner-instances/" + id + "/provider-runner" }
	r.path, r.body = path(p.warm1[0]), `{"provider_runner_id":"`+probeID+`"}`
	switch name {
	case "attach other id":
		r.body = `{"provider_runner_id":"another"}`
	case "attach unknown instance":
		r.path = path("4f278286-f039-4e18-bd44-7967a0b80fb9")
	case "attach bad uuid":
		r.path = path("nope")
	case "attach duplicate provider id on another instance":
		r.path = path(p.warm2[0])
	}
}

func event(id, state, more string) string {
	return fmt.Sprintf(`{"provider_runner_id":%q,"labels":["probe"],"state":%q,"reported_at":"2000-01-01T00:00:00.000Z"%s}`, id, state, more)
}

func (p *prober) headReport(name string, r *request) {
	events := func(list ...string) string { return `{"events":[` + strings.Join(list, ",") + `]}` }
	plainEvent := event(probeID, "running", "")
	r.body = map[string]string{
		"assign unknown reservation":   `{"reservation_id":"4f278286-f039-4e18-bd44-7967a0b80fb9","runner_instance_ids":["` + p.warm1[0] + `"]}`,
		"assign dup ids":               `{"reservation_id":"4f278286-f039-4e18-bd44-7967a0b80fb9","runner_instance_ids":["` + p.warm1[0] + `","` + p.warm1[0] + `"]}`,
		"report ok":                    events(plainEvent),
		"report unknown provider id":   events(event("never-seen", "running", "")),
		"report unknown field":         events(event(probeID, "running", `,"foo":1`)),
		"report empty":                 events(),
		"report bad state":             events(event(probeID, "exploded", "")),
		"report reported_at offset":    events(strings.Replace(plainEvent, "000Z", "000+01:00", 1)),
		"report reported_at nanos Z":   events(strings.Replace(plainEvent, "000Z", "000123456Z", 1)),
		"report reason \"\"":           events(event(probeID, "running", `,"reason":""`)),
		"report upper-case label":      events(strings.Replace(plainEvent, `"probe"`, `"PROBE"`, 1)),
		"report two events same id":    events(plainEvent, event(probeID, "stopped", "")),
		"report running after stopped": events(plainEvent),
		"reconcile":                    `{"observed_provider_runner_ids":["` + probeID + `","ghost"]}`,
		"reconcile with header":        `{"observed_provider_runner_ids":["` + probeID + `","ghost"]}`,
		"reconcile dup":                `{"observed_provider_runner_ids":["a","a"]}`,
		"reconcile unknown field":      `{"observed_provider_runner_ids":[],"x":1}`,
	}[name]
	if name == "reconcile with header" {
		r.header = http.Header{"X-Shipfox-Reconcile-Intended-Reservation": {"1"}}
	}
}

func (p *prober) headRunner(name string, r *request) {
	r.auth, r.body = "Bearer "+p.control, ``
	switch name {
	case "exchange", "exchange reuse":
		r.auth, r.body = "Bearer x", `{"bootstrap_token":"`+p.warm2[1]+`"}`
	case "exchange for terminal runner":
		r.auth, r.body = "", `{"bootstrap_token":"`+p.warm1[1]+`"}`
	case "control heartbeat before enroll":
		r.contentType = "-"
	case "control bad token":
		r.auth, r.contentType = "Bearer "+tokens.New(tokens.ControlSession).Reveal(), "-"
	case "enroll warm":
		r.body = `{"labels":["probe"],"provider_kind":"docker","protocol_version":"1"}`
	case "register with pt":
		r.auth, r.body = "Bearer "+p.provisioner, `{"labels":["probe"]}`
	case "register manual":
		r.auth, r.body = "Bearer "+p.manual, `{"labels":["probe"]}`
	case "jobs/request none":
		r.auth, r.contentType = "Bearer "+p.session, "-"
	case "jobs/request empty json body":
		r.auth = "Bearer " + p.session
	}
}

// learn remembers the ids and tokens of an answer.
func (p *prober) learn(name string, body []byte) {
	var answer struct {
		Instances []struct {
			ID    string `json:"runner_instance_id"`
			Token string `json:"bootstrap_token"`
		} `json:"runner_instances"`
		Reservations []struct {
			ID string `json:"reservation_id"`
		} `json:"reservations"`
		Tokens []struct {
			Token string `json:"registration_token"`
		} `json:"tokens"`
		Control string `json:"control_session_token"`
		Session string `json:"session_token"`
	}
	_ = json.Unmarshal(body, &answer)
	switch name {
	case "batch warm":
		p.warm1 = [2]string{answer.Instances[0].ID, answer.Instances[0].Token}
	case "batch warm 2":
		p.warm2 = [2]string{answer.Instances[0].ID, answer.Instances[0].Token}
	case "exchange":
		p.control = answer.Control
	case "register manual":
		p.session = answer.Session
	case "poll":
		p.reservation = answer.Reservations[0].ID
	case "mint 1":
		p.minted = answer.Tokens[0].Token
	}
}

func TestProbesOfTheOlderGenerations(t *testing.T) {
	for g, names := range map[queue.Generation][2]string{
		queue.GenerationERT: {"provider_runner_id", "runner_instances"},
		queue.GenerationPR:  {"provisioned_runner_id", "provisioned_runners"},
	} {
		t.Run(string(g), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &prober{world: newWorld(t, g)}
				p.submit(3, "probe")
				probes, last := readProbes(t, "probe-"+string(g)+".txt")
				require.Len(t, probes, 23, "every line of the recording is replayed")
				for _, probe := range probes {
					rec := p.do(p.older(probe, names[0], names[1]))
					require.Equal(t, probe.status, rec.Code, "%s: %s", probe.name, rec.Body)
					compare(t, probe.body, rec.Body.String())
					require.Equal(t, probe.retry == "-", rec.Header().Get("Retry-After") == "", "%s: Retry-After", probe.name)
					p.learn(probe.name, rec.Body.Bytes())
				}
				require.Contains(t, last, "429 after 113 more calls")
				p.mintUntilRefused(names[0], names[1])
			})
		})
	}
}

func mintOf(reservation, idName, listName string, ids ...string) string {
	entries := make([]string, len(ids))
	for i, id := range ids {
		entries[i] = fmt.Sprintf(`{%q:%q}`, idName, id)
	}
	return fmt.Sprintf(`{"reservation_id":%q,%q:[%s]}`, reservation, listName, strings.Join(entries, ","))
}

func numbered(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("n%d", i)
	}
	return ids
}

func (p *prober) older(probe probe, idName, listName string) request {
	r := request{method: probe.method, path: probe.path, auth: "Bearer " + p.provisioner}
	mint := func(ids ...string) string { return mintOf(p.reservation, idName, listName, ids...) }
	failed := func(id string) string {
		return fmt.Sprintf(`{"events":[{%q:%q,"reservation_id":%q,"labels":["probe"],"state":"failed","reported_at":"2000-01-01T00:00:00.000Z"}]}`, idName, id, p.reservation)
	}
	r.body = map[string]string{
		"poll":                                 fmt.Sprintf(pollOf, 0, 10, 5),
		"mint 1":                               mint("p1"),
		"mint same id again":                   mint("p1"),
		"mint dup ids":                         mint("d", "d"),
		"mint exceeds":                         mint("p2", "p3", "p4", "p5"),
		"mint exceeds with already minted":     mint("p2", "p3", "p4"),
		"mint unknown reservation":             mintOf("4f278286-f039-4e18-bd44-7967a0b80fb9", idName, listName, "p2"),
		"mint 501":                             mint(numbered(501)...),
		"mint 1001":                            mint(numbered(1001)...),
		"poll 101 templates":                   pollTemplates(101),
		"poll with reservation_ttl_seconds":    `{"wait_seconds":0,"reservation_ttl_seconds":0,"max_reservations":10,"templates":[]}`,
		"report failed after session consumed": failed("p1"),
		"mint 2":                               mint("p9"),
		"report failed unregistered":           failed("p9"),
		"mint after release":                   mint("p10"),
		"reconcile":                            fmt.Sprintf(`{"observed_%ss":["p1","ghost"]}`, idName),
	}[probe.name]
	if strings.HasPrefix(probe.name, "register") {
		r.auth, r.body = "Bearer "+p.minted, `{"labels":["probe"]}`
	}
	return r
}

// mintUntilRefused goes on to the limit of 120 calls a minute. Those of the
// recording that passed the schema were 8.
func (p *prober) mintUntilRefused(idName, listName string) {
	for i := range 113 {
		rec := p.do(request{
			method: http.MethodPost, path: "/provisioners/runner-registration-tokens/batch", auth: "Bearer " + p.provisioner,
			body: mintOf("4f278286-f039-4e18-bd44-7967a0b80fb9", idName, listName, "x"),
		})
		if i < 112 {
			require.Equal(p.t, http.StatusNotFound, rec.Code, "call %d: %s", i, rec.Body)
			continue
		}
		require.Equal(p.t, http.StatusTooManyRequests, rec.Code, "call %d: %s", i, rec.Body)
		require.NotEmpty(p.t, rec.Header().Get("Retry-After"))
		require.Equal(p.t, map[string]any{"code": "rate-limited", "details": map[string]any{"retry_after_seconds": "<seconds>"}},
			plain(decode(p.t, rec.Body.Bytes())))
	}
}
