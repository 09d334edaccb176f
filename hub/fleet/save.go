package fleet

import "github.com/slipway-ci/slipway/hub/fleet/records"

// Record is what must outlive the hub of one runner.
type Record = records.Record

// Store keeps records.
type Store = records.Store

// MemoryStore is a Store that is lost with its process: then runners on hosts that
// are away are not known until these return.
type MemoryStore = records.Memory

// NewMemoryStore makes an empty store.
func NewMemoryStore() *MemoryStore { return records.NewMemory() }

// kept is what the store is to have of runners.
func (f *Fleet) kept(ids map[string]bool) (put []Record, gone []string) {
	f.mu.Lock()
	defer f.unlock()
	for id := range ids {
		if r := f.runners[id]; r != nil {
			put = append(put, r.kept())
		} else {
			gone = append(gone, id)
		}
	}
	return put, gone
}
