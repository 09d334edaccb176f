package provisioner

import (
	"crypto/rand"
	"time"

	"github.com/google/uuid"
)

// newID is a UUIDv7 (RFC 9562, section 5.7) of now: the age of a runner that is
// adopted runs from the time in its id. uuid.NewV7 keeps a clock of its own that
// never goes back, so that its ids lie ahead of now after a correction of the
// system's clock.
func newID(now time.Time) string {
	var id uuid.UUID
	_, _ = rand.Read(id[6:]) // never fails, see crypto/rand
	ms := now.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// madeAt is the time in an id that is a UUIDv7.
func madeAt(id string) (time.Time, bool) {
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.Version() != 7 {
		return time.Time{}, false
	}
	var ms int64
	for _, b := range parsed[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms), true
}
