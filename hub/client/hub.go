package client

import "context"

// HubInfo tells of the hub itself.
type HubInfo struct {
	Version       string            `json:"version"`
	URL           string            `json:"url" doc:"where it is reached by clients on its machine"`
	RunnerURL     string            `json:"runner_url" doc:"where runners reach it"`
	PublicURL     string            `json:"public_url" doc:"where hosts reach it; empty: none can be enrolled"`
	ControlPlanes map[string]string `json:"control_planes" doc:"where its jobs come from: for each, why none come now, or empty"`
	Free          int64             `json:"disk_free_bytes" doc:"of the disk with its data"`
	Total         int64             `json:"disk_total_bytes"`
	Full          bool              `json:"disk_full" doc:"no new jobs are accepted"`
}

// Hub tells of the hub itself.
func (c *Client) Hub(ctx context.Context) (HubInfo, error) { return get[HubInfo](ctx, c, "hub") }
