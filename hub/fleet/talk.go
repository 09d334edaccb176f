package fleet

import "time"

// Lines in the log about one host that its agent can cause as often as it likes: so
// many at once, and one more in each pause.
const (
	mostTalk  = 20
	talkPause = 5 * time.Second
)

// talk is how many such lines of a host may be logged now.
type talk struct {
	left float64
	at   time.Time
}

// talks says whether one more may be. The lock is held.
func (f *Fleet) talks(host string) bool {
	now := time.Now()
	t := f.talk[host]
	if t == nil {
		t = &talk{left: mostTalk, at: now}
		f.talk[host] = t
	}
	t.left, t.at = min(mostTalk, t.left+now.Sub(t.at).Seconds()/talkPause.Seconds()), now
	if t.left < 1 {
		return false
	}
	t.left--
	return true
}
