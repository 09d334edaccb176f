package client

import "fmt"

// LogRecord is one line of a log in the form of records.
type LogRecord struct {
	Attempt int    `json:"attempt,omitempty"`
	Offset  int64  `json:"offset"`
	Data    []byte `json:"data,omitempty"`
	// Missing bytes at Offset, and why: "cut", the log is longer than is kept, or "full", the disk was.
	Missing int64  `json:"missing,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// End is true in the last record; Status is the job's then.
	End    bool   `json:"end,omitempty"`
	Status string `json:"status,omitempty"`
}

// Mark is how missing bytes are told in a text.
func (r LogRecord) Mark() string {
	why := "the log is longer than is kept"
	if r.Reason == "full" {
		why = "the disk was full"
	}
	return fmt.Sprintf("\n[slipway: %d bytes of the log are missing here: %s]\n", r.Missing, why)
}
