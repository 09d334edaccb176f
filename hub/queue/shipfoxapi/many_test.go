package shipfoxapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
)

// Two hundred runners that start at once behind one address must all get through,
// each with a job of its own.
func TestTwoHundredRunnersAtOnce(t *testing.T) {
	const n = 200
	w := newWorld(t, queue.GenerationHead)
	w.submit(n, "probe")
	_, polled := w.post("/provisioners/demand/poll", w.provisioner, fmt.Sprintf(pollOf, 0, n, n))
	reservation := polled["reservations"].([]any)[0].(map[string]any)
	require.EqualValues(t, n, reservation["count"])
	entry := fmt.Sprintf(`{"reservation_id":%q},`, reservation["reservation_id"])
	_, batch := w.post("/provisioners/runner-instances/batch", w.provisioner, `{"runner_instances":[`+strings.TrimSuffix(strings.Repeat(entry, n), ",")+`]}`)
	minted := batch["runner_instances"].([]any)
	require.Len(t, minted, n)

	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		jobs = map[any]bool{}
	)
	for _, m := range minted {
		wg.Go(func() {
			job, err := w.runOne(m.(map[string]any)["bootstrap_token"].(string))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			jobs[job] = true
			mu.Unlock()
		})
	}
	wg.Wait()
	require.Len(t, jobs, n, "each runner has a job of its own")
	done, _, err := w.queue.Jobs(t.Context(), queue.JobFilter{States: []queue.State{queue.StateSucceeded}, Limit: 500})
	require.NoError(t, err)
	require.Len(t, done, n)
}

// runOne is the life of one runner.
func (w *world) runOne(bootstrap string) (job any, err error) {
	call := func(path, token, body string) map[string]any {
		if err != nil {
			return nil
		}
		rec := w.do(request{method: http.MethodPost, path: path, auth: "Bearer " + token, body: body})
		if rec.Code != http.StatusOK {
			err = fmt.Errorf("%s: %d %s", path, rec.Code, rec.Body)
			return nil
		}
		answer, _ := decode(w.t, rec.Body.Bytes()).(map[string]any)
		return answer
	}
	text := func(answer map[string]any, key string) string {
		s, _ := answer[key].(string)
		return s
	}
	control := call("/runner-enrollment/exchange", "", fmt.Sprintf(`{"bootstrap_token":%q}`, bootstrap))
	enrolled := call("/runner-control/enrollment", text(control, "control_session_token"), `{"labels":["probe"],"provider_kind":"docker","protocol_version":"1"}`)
	session := call("/runners/register", text(enrolled, "activation_token"), `{"labels":["probe"]}`)
	claim := call("/runners/jobs/request", text(session, "session_token"), `{}`)
	beat := call("/runners/jobs/"+text(claim, "job_id")+"/heartbeat", text(claim, "lease_token"), `{}`)
	if err == nil {
		err = w.queue.Finish(w.t.Context(), text(beat, "lease_token"), queue.Result{Outcome: queue.OutcomeSucceeded})
	}
	return claim["job_id"], err
}
