package configuration

import "time"

// outage is the time in which subscriptions of a store are lost.
type outage struct {
	lost        int
	since, told time.Time
}

// lost says that a subscription is lost, or could not be made again; first that it was not lost before. A line tells of
// the store's first one, and another of each minute that it lasts.
func (s *Service) lost(store string, first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	o := s.outages[store]
	if o == nil {
		o = &outage{since: now}
		s.outages[store] = o
	}
	if first {
		o.lost++
	}
	if now.Sub(o.told) >= time.Minute {
		o.told = now
		s.deps.Log.Warnf("subscriptions to configuration store %s are lost and tried again: %s", store, err)
	}
}

// regained says that a lost subscription is made again, or has ended. A line tells that the last one is made.
func (s *Service) regained(store string, made bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.outages[store]
	if o.lost--; o.lost > 0 {
		return
	}
	delete(s.outages, store)
	if made {
		s.deps.Log.Infof("subscriptions to configuration store %s are made again, after %s", store, time.Since(o.since).Round(time.Millisecond))
	}
}
