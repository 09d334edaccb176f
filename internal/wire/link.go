package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

var (
	// ErrFull: the queue to a slow peer is full; the frame was not sent.
	ErrFull = errors.New("wire: the peer is too slow")
	// ErrSilent: nothing came for two heartbeats.
	ErrSilent = errors.New("wire: the peer is silent")
	// ErrFlood: more frames came than any honest peer sends.
	ErrFlood = errors.New("wire: the peer floods")
	// ErrClosed: the link was closed.
	ErrClosed = errors.New("wire: the connection was closed")
)

// The rate of frames that a link takes: far above what an honest peer sends.
const (
	floodBurst  = 4000
	floodPerSec = 1000
)

// Link is one connection. Any failure ends all of it, once; Run returns then.
type Link struct {
	conn    *websocket.Conn
	opened  time.Time
	silence atomic.Int64 // nanoseconds: 0 means no limit yet
	queue   chan *Outgoing
	bulk    chan *Outgoing // goes when queue is empty
	done    chan struct{}

	end    sync.Once
	reason error // written before done is closed
	last   *Frame

	allowance float64 // of frames; the reader's own, as all below is
	budget    *Budget // of bytes
	size      int     // of the last frame
	counted   time.Time
}

// NewLink makes a link of a connection, with a queue of so many frames. Before
// Run nothing is sent.
func NewLink(conn *websocket.Conn, queue int) *Link {
	return &Link{conn: conn, opened: time.Now(), queue: make(chan *Outgoing, queue), bulk: make(chan *Outgoing), done: make(chan struct{}), allowance: floodBurst, budget: NewBudget()}
}

// Opened is when the link was made. What a dialling peer says on it was said after that:
// it waits for the answer to its request to open the connection.
func (l *Link) Opened() time.Time { return l.opened }

// Outgoing is a frame on its way to the socket.
type Outgoing struct {
	frame Frame
	state atomic.Int32
}

const (
	queued int32 = iota
	leaving
	withdrawn
)

// Withdraw takes the frame back, and says whether it could: true means that it
// never leaves. Asked again, it says the same.
func (o *Outgoing) Withdraw() bool {
	return o.state.CompareAndSwap(queued, withdrawn) || o.state.Load() == withdrawn
}

// First reads one frame before Run, within HelloTimeout and limit bytes.
func (l *Link) First(limit int64) (Frame, error) {
	l.conn.SetReadLimit(limit)
	_ = l.conn.SetReadDeadline(time.Now().Add(HelloTimeout))
	return l.read()
}

// Greet sends the first frame, before Run.
func (l *Link) Greet(f Frame) error { return l.put(f, time.Now().Add(HelloTimeout)) }

// Silence sets how long the peer may say nothing, and a write may take.
func (l *Link) Silence(limit time.Duration) { l.silence.Store(int64(limit)) }

// Send puts a frame into the queue, or says ErrFull; it never waits.
func (l *Link) Send(f Frame) (*Outgoing, error) {
	o := &Outgoing{frame: f}
	select {
	case <-l.done:
		return nil, l.reason
	default:
	}
	select {
	case l.queue <- o:
		return o, nil
	default:
		return nil, ErrFull
	}
}

// Post hands over a frame of a bulk transfer: it waits until nothing else is to
// be sent, or ctx or the link ends. What one goroutine posts keeps its order.
func (l *Link) Post(ctx context.Context, f Frame) error {
	select {
	case l.bulk <- &Outgoing{frame: f}:
		return nil
	case <-l.done:
		return l.reason
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the link for that reason, the first one counts.
func (l *Link) Close(reason error) { l.close(reason, nil) }

// Bye ends the link and tells the peer why, if it still listens.
func (l *Link) Bye(reason error) {
	l.close(reason, &Frame{Type: Bye, Error: FromError(reason)})
}

func (l *Link) close(reason error, last *Frame) {
	l.end.Do(func() {
		if reason == nil {
			reason = ErrClosed
		}
		l.reason, l.last = reason, last
		close(l.done)
	})
}

// Done is closed when the link ends.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err is why the link ended; nil while it lives.
func (l *Link) Err() error {
	select {
	case <-l.done:
		return l.reason
	default:
		return nil
	}
}

// Run reads frames and gives each to handle, until the link ends or handle errs,
// and writes what is queued beside it. It closes the connection, and returns the
// reason when both have ended.
func (l *Link) Run(handle func(Frame) error) error {
	var others sync.WaitGroup
	written := make(chan struct{})
	others.Go(func() {
		defer close(written)
		l.write()
	})
	others.Go(func() { l.hangUp(written) })
	l.conn.SetReadLimit(MaxFrame)
	l.counted = time.Now()
	for {
		if err := l.conn.SetReadDeadline(l.deadline()); err != nil {
			l.Close(err)
			break
		}
		f, err := l.read()
		if err == nil {
			err = l.count()
		}
		if err == nil {
			err = handle(f)
		}
		if err != nil {
			l.fail(err)
			break
		}
	}
	others.Wait()
	return l.reason
}

// hangUp closes the connection when the link has ended, which ends whoever waits
// in a read or a write. A farewell gets a moment.
func (l *Link) hangUp(written <-chan struct{}) {
	<-l.done
	if l.last != nil {
		timer := time.NewTimer(farewellTime)
		defer timer.Stop()
		select {
		case <-written:
		case <-timer.C:
		}
	}
	l.conn.Close()
}

// Refuse ends a link that was never run, and tells the peer why.
func (l *Link) Refuse(reason error) {
	if violates(reason) {
		l.fail(reason)
	} else {
		l.Bye(reason)
	}
	l.farewell()
	l.conn.Close()
}

// violates says that the peer broke the protocol.
func violates(err error) bool {
	return errors.Is(err, ErrFrame) || errors.Is(err, ErrFlood) || errors.Is(err, ErrViolation)
}

// fail ends the link; a peer that broke the protocol is told so.
func (l *Link) fail(err error) {
	if violates(err) {
		l.close(err, &Frame{Type: Bye, Error: &Error{Code: Violation, Message: text(err.Error())}})
		return
	}
	l.Close(err)
}

func (l *Link) deadline() time.Time {
	limit := l.silence.Load()
	if limit == 0 {
		limit = int64(HelloTimeout)
	}
	return time.Now().Add(time.Duration(limit))
}

// count bounds the rate of frames, and of their bytes.
func (l *Link) count() error {
	now := time.Now()
	l.allowance = min(floodBurst, l.allowance+now.Sub(l.counted).Seconds()*floodPerSec) - 1
	l.counted = now
	if l.allowance < 0 {
		return ErrFlood
	}
	l.budget.spend(l.size, l.done)
	return nil
}

func (l *Link) read() (Frame, error) {
	kind, data, err := l.conn.ReadMessage()
	l.size = len(data)
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		return Frame{}, fmt.Errorf("%w: too large", ErrFrame)
	case errors.As(err, &timeout) && timeout.Timeout():
		return Frame{}, ErrSilent
	case err != nil:
		return Frame{}, fmt.Errorf("%w: %w", ErrClosed, err)
	case kind != websocket.TextMessage:
		return Frame{}, fmt.Errorf("%w: not a text message", ErrFrame)
	}
	return Decode(data)
}

// write is the one writer. It ends with the link.
func (l *Link) write() {
	for {
		select {
		case <-l.done:
			l.farewell()
			return
		default:
		}
		o := l.next()
		if o == nil || !o.state.CompareAndSwap(queued, leaving) {
			continue
		}
		err := l.put(o.frame, l.deadline())
		o.frame = Frame{} // it may hold secrets, and its request is kept until it is answered
		if err != nil {
			l.Close(fmt.Errorf("%w: %w", ErrClosed, err))
		}
	}
}

// next waits for what is to be sent; nil when the link has ended.
func (l *Link) next() *Outgoing {
	select {
	case o := <-l.queue:
		return o
	default:
	}
	select {
	case o := <-l.queue:
		return o
	case o := <-l.bulk:
		return o
	case <-l.done:
		return nil
	}
}

func (l *Link) put(f Frame, deadline time.Time) error {
	data, err := Encode(f)
	if err != nil {
		return err
	}
	_ = l.conn.SetWriteDeadline(deadline)
	return l.conn.WriteMessage(websocket.TextMessage, data)
}

// farewellTime is short: who does not read now does not get it.
const farewellTime = time.Second

func (l *Link) farewell() {
	if l.last == nil {
		return
	}
	deadline := time.Now().Add(farewellTime)
	if l.put(*l.last, deadline) == nil {
		_ = l.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline)
	}
}
