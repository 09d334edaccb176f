package demo

import (
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/template"
)

// templates are the two kinds of runners.
func templates(image string) []template.Template {
	return []template.Template{
		{Key: "small", Labels: []string{"demo", "small"}, Image: image, InjectRunner: true, CPU: 0.5, Memory: 128 << 20, MaxConcurrency: 3},
		{Key: "large", Labels: []string{"demo", "large"}, Image: image, InjectRunner: true, CPU: 1, Memory: 256 << 20, MaxConcurrency: 2},
	}
}

// samples are what the jobs do, in turn.
var samples = []queue.JobSpec{
	{
		Name: "greet", Labels: []string{"demo", "small"},
		Run: "echo \"hello, I am job $SLIPWAY_JOB_ID\"\nsleep 0.2\necho \"on $(uname -s) $(uname -m)\"",
	}, {
		Name: "count", Labels: []string{"demo", "large"},
		Run: "for i in 1 2 3; do echo \"step $i of 3\"; sleep 0.2; done",
	}, {
		Name: "env", Labels: []string{"small"}, Env: map[string]string{"GREETING": "good morning"},
		Run: "echo \"the submitter says: $GREETING\"\nsleep 0.2\necho \"and CI is $CI\"",
	}, {
		Name: "streams", Labels: []string{"large"},
		Run: "echo \"this went to stdout\"\necho \"and this to stderr, in order\" >&2\nsleep 0.2\necho done",
	}, {
		Name: "command", Labels: []string{"demo"},
		Command: []string{"echo", "an argv, and no shell"},
	},
}

// specs are n jobs.
func specs(n int) []queue.JobSpec {
	out := make([]queue.JobSpec, n)
	for i := range out {
		out[i] = samples[i%len(samples)]
		if i >= len(samples) {
			out[i].Name = fmt.Sprintf("%s-%d", out[i].Name, i/len(samples)+1)
		}
	}
	return out
}
