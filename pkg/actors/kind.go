package actors

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/daprd/daprd/pkg/channel"
)

// kind is one type of actors that the application hosts, or has hosted.
type kind struct {
	name    string
	service *Service
	// pending, deactivated, rebalanced and fired are the Observer's.
	pending     func(n int)
	deactivated func(success bool)
	rebalanced  func()
	fired       func(timer, success bool)
	// hosting is who hosts it now, nil for nobody.
	hosting atomic.Pointer[hosting]

	mu     sync.Mutex
	actors map[string]*actor
	// oldest and newest are the ends of the list of the idle, in the order in which they became so: all have the same
	// time, so that the oldest is the next to leave.
	oldest, newest *actor
	timer          *time.Timer
}

// hosting is what an application, or one of its streams, has said of a type.
type hosting struct {
	settings
	host channel.ActorHost
}

// noHosting stands for nobody.
var noHosting = &hosting{settings: newSettings(channel.ActorSettings{})}

func (k *kind) hosted() *hosting {
	if h := k.hosting.Load(); h != nil {
		return h
	}
	return noHosting
}

func (k *kind) settings() settings { return k.hosted().settings }

// idle puts an actor at the end of the idle.
func (k *kind) idle(a *actor) {
	if a.since.IsZero() {
		a.prev = k.newest
		if k.newest == nil {
			k.oldest = a
		} else {
			k.newest.next = a
		}
		k.newest = a
	}
	a.since = time.Now()
	if k.oldest == a {
		k.alarm()
	}
}

// unidle takes an actor out of the idle.
func (k *kind) unidle(a *actor) {
	if a.since.IsZero() {
		return
	}
	if a.prev == nil {
		k.oldest = a.next
	} else {
		a.prev.next = a.next
	}
	if a.next == nil {
		k.newest = a.prev
	} else {
		a.next.prev = a.prev
	}
	a.prev, a.next, a.since = nil, nil, time.Time{}
}

// alarm has the timer ring when the oldest is due. It is set once and rings early where that actor is busy again by then.
func (k *kind) alarm() {
	if k.timer != nil || k.oldest == nil {
		return
	}
	k.timer = time.AfterFunc(time.Until(k.oldest.since.Add(k.settings().idle)), k.expire)
}

// expire has those leave whose time is over.
func (k *kind) expire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = nil
	limit := time.Now().Add(-k.settings().idle)
	for a := k.oldest; a != nil && !a.since.After(limit); a = k.oldest {
		k.unidle(a)
		a.depart()
		a.settle()
	}
	k.alarm()
}

// stop ends the timer.
func (k *kind) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
}

// host has h host the type from now on.
func (k *kind) host(h *hosting) {
	k.hosting.Store(h)
	k.stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.alarm()
}

// count is the number of active actors.
func (k *kind) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.actors)
}
