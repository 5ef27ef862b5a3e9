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

// MetricSettings are those of metrics, else of metric; unless they say otherwise metrics are on. No buckets
// mean the default ones.
func (c *Configuration) MetricSettings() (enabled bool, buckets []float64) {
	spec := c.Spec.Metrics
	if spec == nil {
		spec = c.Spec.Metric
	}
	if spec == nil {
		return true, nil
	}
	return spec.Enabled == nil || *spec.Enabled, spec.LatencyBuckets
}
