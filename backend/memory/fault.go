package memory

import (
	"context"
	"fmt"
	"time"
)

// Call is one call of a Backend's method.
type Call struct {
	// Op is the method.
	Op Op
	// Owner is whose backend was called.
	Owner string
	// ID is the runner's; empty for calls that are about none.
	ID string
	// Host is where the runner lives, or would live; empty where there is none.
	Host string
}

// Op is a method of Backend.
type Op string

// The methods.
const (
	OpLaunch   Op = "launch"
	OpList     Op = "list"
	OpRemove   Op = "remove"
	OpPrepare  Op = "prepare"
	OpCapacity Op = "capacity"
	OpWatch    Op = "watch"
	OpLogs     Op = "logs"
)

// Fault is what goes wrong with one call, in the order of its fields. The zero
// value is nothing. A call whose ctx ends while it waits returns the ctx's
// error.
type Fault struct {
	// Before is how long the call waits before it does anything.
	Before time.Duration
	// Err is what the call answers. It has no effect then, unless Applied.
	Err error
	// Hang makes the call wait until its ctx ends. It has no effect then, unless
	// Applied.
	Hang bool
	// Applied makes the effect happen in spite of Err or Hang: a lost answer.
	// For honest engines Err is no definite error then.
	Applied bool
	// Late, with Applied on a launch, is how long after the call's answer its
	// effect happens.
	Late time.Duration
	// Half, on a launch, makes the runner and does not start it: with Err or
	// Hang and Applied, an engine that died half-way.
	Half bool
	// After is how long the answer takes to come back after the effect.
	After time.Duration
}

// run does one call: effect is called without the lock, at most once.
func (e *Engine) run(ctx context.Context, call Call, effect func(Fault) error) error {
	fault := e.config.Fault(call)
	err := e.runFault(ctx, fault, effect)
	if err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	return nil
}

func (e *Engine) runFault(ctx context.Context, fault Fault, effect func(Fault) error) error {
	if err := wait(ctx, fault.Before); err != nil {
		return err
	}
	if fault.Err == nil && !fault.Hang {
		if err := effect(fault); err != nil {
			return err
		}
		return wait(ctx, fault.After)
	}
	if fault.Applied {
		_ = effect(fault) // the answer is lost, whatever it was
	}
	if fault.Hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := wait(ctx, fault.After); err != nil {
		return err
	}
	return fault.Err
}

// String is the call in words.
func (c Call) String() string {
	if c.ID == "" {
		return "memory: " + string(c.Op)
	}
	return "memory: " + string(c.Op) + " " + c.ID
}

// wait waits for d, and returns ctx's error if that ends first or has ended.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
