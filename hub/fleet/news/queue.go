package news

import (
	"slices"
	"sync"
	"time"
)

// most is how many events may wait.
const most = 4096

// Queue is the events that wait to be told, one after the other. Its methods may be
// called from many goroutines.
type Queue struct {
	tell func(Event)
	wake chan struct{} // of one
	end  chan struct{} // closed when there will be no more

	mu    sync.Mutex
	queue []Event
}

// NewQueue makes a queue of what tell is told; nil: nobody is.
func NewQueue(tell func(Event)) *Queue {
	return &Queue{tell: tell, wake: make(chan struct{}, 1), end: make(chan struct{})}
}

// Put has an event told, of now. It waits for nothing: stats and facts give way to newer
// ones of their session, and when there are too many the oldest is lost.
func (q *Queue) Put(e Event) {
	if q.tell == nil {
		return
	}
	e.At = time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.Kind == StatsTold || e.Kind == FactsTold {
		same := func(old Event) bool { return old.Kind == e.Kind && old.Host == e.Host && old.Epoch == e.Epoch }
		q.queue = slices.DeleteFunc(q.queue, same)
	}
	if len(q.queue) >= most {
		q.queue = slices.Delete(q.queue, 0, 1)
	}
	q.queue = append(q.queue, e)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// End says that there will be no more. It is called once.
func (q *Queue) End() { close(q.end) }

// Run tells the events, until End was called and the last is told.
func (q *Queue) Run() {
	for {
		last := false
		select {
		case <-q.wake:
		case <-q.end:
			last = true
		}
		q.mu.Lock()
		queue := q.queue
		q.queue = nil
		q.mu.Unlock()
		for _, e := range queue {
			q.tell(e)
		}
		if last {
			return
		}
	}
}
