package queue

import "sync"

// Topics of Subscribe.
const (
	// TopicJobs: something about some job changed.
	TopicJobs = "jobs"
	// topicDemand: jobs became free to grant.
	topicDemand = "demand"
)

// TopicJob is woken by every change of one job.
func TopicJob(id string) string { return "job:" + id }

func topicProvisioner(id string) string { return "provisioner:" + id }

func topicRunner(id string) string { return "runner:" + id }

// Subscription wakes its owner after changes. It carries no state: wakes
// coalesce, and the owner looks for itself.
type Subscription struct {
	// C receives after a change. Subscribe, then look, then wait on C.
	C      <-chan struct{}
	wake   chan struct{}
	topics []string
	hub    *notifier
}

// Close ends the subscription.
func (s *Subscription) Close() { s.hub.remove(s) }

// Subscribe returns a subscription to topics; the caller closes it.
func (q *Queue) Subscribe(topics ...string) *Subscription { return q.notify.subscribe(topics...) }

// Notify wakes the subscribers of topics: for parts of the hub that keep more of
// a job than the queue does, such as its log.
func (q *Queue) Notify(topics ...string) { q.notify.wake(topics) }

type notifier struct {
	mu     sync.Mutex
	topics map[string]map[*Subscription]struct{}
}

func newNotifier() *notifier {
	return &notifier{topics: map[string]map[*Subscription]struct{}{}}
}

func (n *notifier) subscribe(topics ...string) *Subscription {
	wake := make(chan struct{}, 1)
	s := &Subscription{C: wake, wake: wake, topics: topics, hub: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, topic := range topics {
		if n.topics[topic] == nil {
			n.topics[topic] = map[*Subscription]struct{}{}
		}
		n.topics[topic][s] = struct{}{}
	}
	return s
}

func (n *notifier) remove(s *Subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, topic := range s.topics {
		delete(n.topics[topic], s)
		if len(n.topics[topic]) == 0 {
			delete(n.topics, topic)
		}
	}
}

func (n *notifier) wake(topics []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, topic := range topics {
		for s := range n.topics[topic] {
			select {
			case s.wake <- struct{}{}:
			default: // it is awake already
			}
		}
	}
}
