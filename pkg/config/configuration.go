package config

import (
	"fmt"
	"os"

	"gopkg.in/yaml.v3"
)

// Configuration is a resource of kind Configuration: what the sidecar does, beyond its flags.
type Configuration struct {
	Meta Meta              `yaml:"metadata"`
	Spec ConfigurationSpec `yaml:"spec"`
}

// ConfigurationSpec holds the parts that Dapr knows; unknown keys are passed over. NotInUse tells which parts
// have no effect yet.
type ConfigurationSpec struct {
	HTTPPipeline    PipelineSpec `yaml:"httpPipeline"`
	AppHTTPPipeline PipelineSpec `yaml:"appHttpPipeline"`
	Tracing         TracingSpec  `yaml:"tracing"`
	// MTLS is for the control plane; a sidecar goes by --enable-mtls.
	MTLS   MTLSSpec    `yaml:"mtls"`
	Metric *MetricSpec `yaml:"metric"`
	// Metrics replaces Metric as a whole; see MetricSettings.
	Metrics        *MetricSpec        `yaml:"metrics"`
	Secrets        SecretsSpec        `yaml:"secrets"`
	AccessControl  AccessControlSpec  `yaml:"accessControl"`
	NameResolution NameResolutionSpec `yaml:"nameResolution"`
	Features       []Feature          `yaml:"features"`
	API            APISpec            `yaml:"api"`
	Components     ComponentsSpec     `yaml:"components"`
	Logging        LoggingSpec        `yaml:"logging"`
	WASM           WASMSpec           `yaml:"wasm"`
	Workflow       WorkflowSpec       `yaml:"workflow"`
}

// DefaultConfiguration is what holds without a file, and where a file says nothing.
func DefaultConfiguration() *Configuration {
	return &Configuration{Spec: ConfigurationSpec{AccessControl: defaultAccessControl()}}
}

// ReadConfiguration reads the files in order over the defaults: later ones win key by key. Of each file the
// first document counts, whatever its kind. $VAR and ${VAR} in them are replaced by the environment's values
// first, everywhere, by nothing where they are not set.
func ReadConfiguration(paths ...string) (*Configuration, error) {
	c := DefaultConfiguration()
	for _, path := range paths {
		if err := c.read(path); err != nil {
			return nil, fmt.Errorf("error loading configuration: %w", err)
		}
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("error loading configuration: %w", err)
	}
	return c, nil
}

func (c *Configuration) read(path string) error {
	// Stat first, for the text that Dapr's users know of a missing file.
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w; --config names an existing file", err)
	}
	text, err := readFile(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return c.decode(path, os.ExpandEnv(string(text)))
}

func (c *Configuration) decode(path, text string) error {
	d := document{origin: Origin{Line: 1}}
	root := new(yaml.Node)
	err := decode([]byte(text), root)
	if err != nil {
		err = d.explain(err)
	} else {
		err = d.into(root, c)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Validate checks what the decoding cannot.
func (c *Configuration) Validate() error {
	if err := c.Spec.Secrets.validate(); err != nil {
		return err
	}
	return c.Spec.AccessControl.validate()
}

// NotInUse tells of the parts that were set, but have no effect in this daprd yet: "Configuration's
// spec.workflow".
func (c *Configuration) NotInUse() (parts []string) {
	metric, key := c.metric()
	for _, part := range []struct {
		set  bool
		name string
	}{
		{metric.RecordErrorCodes, key + ".recordErrorCodes"},
		{c.Spec.Workflow.isSet(), "workflow"},
	} {
		if part.set {
			parts = append(parts, "Configuration's spec."+part.name)
		}
	}
	return parts
}
