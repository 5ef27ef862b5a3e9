package config

// MetricSpec says what is counted.
type MetricSpec struct {
	// Enabled is true where it is not given.
	Enabled          *bool      `yaml:"enabled"`
	RecordErrorCodes bool       `yaml:"recordErrorCodes"`
	HTTP             MetricHTTP `yaml:"http"`
	// LatencyBuckets are upper bounds in milliseconds.
	LatencyBuckets []float64    `yaml:"latencyDistributionBuckets"`
	Rules          []MetricRule `yaml:"rules"`
}

// MetricHTTP bounds the labels of HTTP metrics.
type MetricHTTP struct {
	IncreasedCardinality *bool    `yaml:"increasedCardinality"`
	PathMatching         []string `yaml:"pathMatching"`
	ExcludeVerbs         bool     `yaml:"excludeVerbs"`
}

// MetricRule rewrites labels of a metric.
type MetricRule struct {
	Name   string        `yaml:"name"`
	Labels []MetricLabel `yaml:"labels"`
}

// MetricLabel rewrites one label: what a pattern matches becomes its replacement.
type MetricLabel struct {
	Name string `yaml:"name"`
	// Regex has patterns by replacement.
	Regex map[string]string `yaml:"regex"`
}

// MetricSettings are those of metrics, else of metric.
func (c *Configuration) MetricSettings() MetricSpec {
	spec, _ := c.metric()
	return spec
}

// On says whether anything is counted: unless the Configuration says otherwise it is.
func (s *MetricSpec) On() bool { return s.Enabled == nil || *s.Enabled }

// Increased says whether paths are shown that PathMatching does not name, as in Dapr 1.18 unless the Configuration says
// otherwise.
func (h *MetricHTTP) Increased() bool {
	return h.IncreasedCardinality == nil || *h.IncreasedCardinality
}

// metric is the part that holds, and its key.
func (c *Configuration) metric() (spec MetricSpec, key string) {
	switch {
	case c.Spec.Metrics != nil:
		return *c.Spec.Metrics, "metrics"
	case c.Spec.Metric != nil:
		return *c.Spec.Metric, "metric"
	}
	return MetricSpec{}, "metrics"
}
