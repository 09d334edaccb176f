// Package flight is of deeds that are under way on several hosts, and that more than one
// caller may wait for.
package flight

import (
	"context"
	"errors"
	"time"
)

// Flight is one deed under way; all who ask for the same wait for it.
type Flight struct {
	done chan struct{}
	err  error // written before done is closed
}

// New is a deed that begins.
func New() *Flight { return &Flight{done: make(chan struct{})} }

// Land ends it, with what came of it. It is called once.
func (f *Flight) Land(err error) {
	f.err = err
	close(f.done)
}

// leastGrace is how long the others get when the first was ready at once.
const leastGrace = 500 * time.Millisecond

// Await waits for all flights, or a while after the first good one, as long again as that
// took and at most so long: one that does not end must not cost the others more time than
// they took. The error is that of all of them, where none was good.
func Await(ctx context.Context, flights []*Flight, most time.Duration) error {
	ended, quit := make(chan *Flight), make(chan struct{})
	defer close(quit)
	for _, fl := range flights {
		go func() { // ends with us
			select {
			case <-fl.done:
			case <-quit:
				return
			}
			select {
			case ended <- fl:
			case <-quit:
			}
		}()
	}
	var errs []error
	began := time.Now()
	var grace <-chan time.Time // from the first good one on
	for range flights {
		select {
		case fl := <-ended:
			if fl.err != nil {
				errs = append(errs, fl.err)
			} else if grace == nil {
				timer := time.NewTimer(min(most, max(time.Since(began), leastGrace)))
				defer timer.Stop()
				grace = timer.C
			}
		case <-grace:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if grace != nil {
		return nil
	}
	return errors.Join(errs...)
}
