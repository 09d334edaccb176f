package client

import "context"

// Waiting tells why a job has not begun to run.
type Waiting struct {
	Status    string         `json:"status" doc:"the job's"`
	Code      string         `json:"code" enum:"none,starting,reserved,next,full,failing,backing-off,hosts-away,no-host,not-taken,no-scale-set,storage-full" doc:"none: it does not wait, or waits no more"`
	Text      string         `json:"text" doc:"the same for people, on one line; empty with none"`
	ScaleSets []WaitingOnSet `json:"scale_sets" nullable:"false" doc:"those that have the job's labels, by name, while it is queued"`
}

// WaitingOnSet says why a scale set that has a job's labels gives it no runner now.
type WaitingOnSet struct {
	Name    string `json:"name"`
	Runners int    `json:"runners" doc:"how many of its runners take up room"`
	Max     int    `json:"max"`
	Code    string `json:"code" enum:"next,full,failing,backing-off,hosts-away,no-host" doc:"next: it has room"`
	Text    string `json:"text"`
}

// Waiting tells why a job has not begun to run. ErrNotFound: there is no such job.
func (c *Client) Waiting(ctx context.Context, id string) (Waiting, error) {
	return get[Waiting](ctx, c, "jobs", id, "why")
}
