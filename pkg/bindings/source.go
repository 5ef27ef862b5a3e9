package bindings

import "sync"

// source tells once, in the log, that an input is lost, and once that it is back.
type source struct {
	service   *Service
	component *component

	mu   sync.Mutex
	told string
}

func (s *source) lost(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := err.Error(); text != s.told {
		s.service.deps.Log.Errorf("error reading from input binding %s: %s; it is tried again", s.component.name, text)
		s.told = text
	}
}

// found is called at every event, and when a source was read for long.
func (s *source) found() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told != "" {
		s.service.deps.Log.Infof("input binding %s brings events again", s.component.name)
		s.told = ""
	}
}
