package configuration

import (
	"fmt"
	"maps"
	"slices"
)

// maxSubscriptions bounds the subscriptions of a sidecar: each holds a goroutine and, at most stores, a connection.
const maxSubscriptions = 1000

var errTooMany = fmt.Errorf("there are %d subscriptions already, and no more are kept; unsubscribe those that are not needed", maxSubscriptions)

// keep makes the subscription known. Where there are too many, one of the application takes the place of its oldest for
// the same items: an application that started again has forgotten that, and would be refused for ever.
func (s *Service) keep(sub *subscription) error {
	for {
		twin, err := s.tryKeep(sub)
		if twin == nil {
			return err
		}
		s.deps.Log.Infof("there are %d configuration subscriptions: %s of the application to %s gives way to %s for the same items",
			maxSubscriptions, twin.id, sub.store, sub.id)
		twin.finish()
	}
}

// tryKeep gives the subscription that is to give way first, if there is one.
func (s *Service) tryKeep(sub *subscription) (twin *subscription, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return nil, errEnding
	case len(s.subscriptions) < maxSubscriptions:
		s.subscriptions[sub.id] = sub
		return nil, nil
	case sub.app:
		for _, one := range s.subscriptions {
			if one.like(sub) && (twin == nil || one.began.Before(twin.began)) {
				twin = one
			}
		}
	}
	if twin == nil {
		err = errTooMany
	}
	return twin, err
}

// like says that both bring the same items to the application.
func (b *subscription) like(o *subscription) bool {
	return b.app && o.app && b.store == o.store && slices.Equal(b.keys, o.keys) && maps.Equal(b.metadata, o.metadata)
}

func (s *Service) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.subscriptions, id)
}
