package tracing

import (
	"strconv"

	"github.com/daprd/daprd/pkg/config"
)

// settings are what the Configuration and the environment say of tracing.
type settings struct {
	// on: spans are made, with this rate.
	on   bool
	rate float64
	// exporters are connected to nothing yet.
	exporters []exporter
}

func settingsOf(spec config.TracingSpec, deps Deps, _ func(string) string) (settings, error) {
	var s settings
	if spec.Stdout {
		s.exporters = append(s.exporters, stdout{deps.Spans})
	}
	s.rate = rateOf(spec.SamplingRate)
	// Without a word about rates and exporters there are no spans, as in Dapr 1.18.
	s.on = spec.SamplingRate != "" || len(s.exporters) > 0
	return s, nil
}

// rateOf reads a sampling rate; what is none is the default, and there is no more than all.
func rateOf(word string) float64 {
	rate, err := strconv.ParseFloat(word, 64)
	if err != nil || !(rate >= 0) {
		return defaultRate
	}
	return min(rate, 1)
}

func (s *settings) close() {
	for _, e := range s.exporters {
		e.close()
	}
}
