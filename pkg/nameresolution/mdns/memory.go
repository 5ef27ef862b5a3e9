package mdns

import (
	"slices"
	"time"
)

const (
	// addressLife is how long an address counts after it was last heard of.
	addressLife = 60 * time.Second
	// refreshAge is the age at which an app is asked for again behind the back of
	// the caller who uses it.
	refreshAge = 30 * time.Second
	// maxApps and maxAddresses bound what callers and the network can make the
	// resolver remember.
	maxApps      = 1024
	maxAddresses = 64
)

// memory holds what was heard of the apps that were asked for. Its owner locks.
type memory map[string]*app

// app is one app id.
type app struct {
	peers []peer
	// asked is when the last browse began.
	asked time.Time
}

type peer struct {
	address string
	ipv6    bool
	heard   time.Time
	// left is when it said goodbye, if that was the last thing heard of it.
	left time.Time
}

func (p peer) lives(now time.Time) bool {
	return p.left.IsZero() && now.Sub(p.heard) < addressLife
}

// ask makes room for an app and notes that it is asked for now.
func (m memory) ask(appID string, now time.Time) {
	if a, ok := m[appID]; ok {
		a.asked = now
		return
	}
	if len(m) >= maxApps {
		m.dropOldest()
	}
	m[appID] = &app{asked: now}
}

func (m memory) dropOldest() {
	var oldest string
	var asked time.Time
	for appID, a := range m {
		if asked.IsZero() || a.asked.Before(asked) {
			oldest, asked = appID, a.asked
		}
	}
	delete(m, oldest)
}

// hear takes in a sighting of an app that was asked for, and says whether there
// is an address of it now.
func (m memory) hear(s sighting, now time.Time) bool {
	a, ok := m[s.appID]
	if !ok {
		return false
	}
	for i := range a.peers {
		if p := &a.peers[i]; p.address == s.address {
			p.hear(s, now)
			return p.lives(now)
		}
	}
	a.drop(func(p peer) bool { return now.Sub(p.heard) >= addressLife })
	if s.goodbye {
		return false
	}
	if len(a.peers) < maxAddresses {
		a.peers = append(a.peers, peer{address: s.address, ipv6: s.ipv6, heard: now})
	}
	return true
}

func (p *peer) hear(s sighting, now time.Time) {
	switch {
	case s.goodbye:
		p.left = now
	case s.secondHand && now.Sub(p.left) < 2*browseTime:
		// That may have been the goodbye itself.
	default:
		p.heard, p.left = now, time.Time{}
	}
}

func (m memory) forget(appID, address string) {
	if a, ok := m[appID]; ok {
		a.drop(func(p peer) bool { return p.address == address })
	}
}

func (a *app) drop(what func(peer) bool) {
	a.peers = slices.DeleteFunc(a.peers, what)
}

// addresses gives the live IPv4 addresses, or if there is none the IPv6 ones, and
// whether it is time to ask for the app again.
func (m memory) addresses(appID string, now time.Time) (addresses []string, stale bool) {
	a, ok := m[appID]
	if !ok {
		return nil, false
	}
	var four, six []string
	for _, p := range a.peers {
		switch {
		case !p.lives(now):
		case p.ipv6:
			six = append(six, p.address)
		default:
			four = append(four, p.address)
		}
	}
	if len(four) == 0 {
		four = six
	}
	return four, now.Sub(a.asked) >= refreshAge
}
