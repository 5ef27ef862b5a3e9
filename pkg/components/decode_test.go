package components_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/components"
)

type inner struct {
	Name string `metadata:"name"`
}

type sample struct {
	inner
	Host     string        `metadata:"redisHost,required" default:"localhost:6379" aliases:"host,server"`
	Database string        `metadata:"database,required"`
	Password string        `metadata:"redisPassword,secret"`
	Port     uint16        `metadata:"port,secret" default:"6379"`
	Cert     string        `metadata:"clientCert,pem"`
	Mode     string        `metadata:"mode" oneof:"node,cluster" default:"node"`
	TLS      bool          `metadata:"enableTLS"`
	Retries  int           `metadata:"retries" default:"3"`
	Pool     *int          `metadata:"pool"`
	Ratio    float64       `metadata:"ratio"`
	Wait     time.Duration `metadata:"wait,milliseconds" default:"250"`
	Age      time.Duration `metadata:"age"`
	Topics   []string      `metadata:"topics"`
	Untagged string
}

const certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"

// record collects what a component logs.
func record() (logrus.FieldLogger, *bytes.Buffer) {
	var text bytes.Buffer
	log := logrus.New()
	log.SetOutput(&text)
	log.SetLevel(logrus.DebugLevel)
	log.SetFormatter(plainFormat{})
	return log, &text
}

// plainFormat is "level message".
type plainFormat struct{}

func (plainFormat) Format(e *logrus.Entry) ([]byte, error) {
	return []byte(e.Level.String() + " " + e.Message + "\n"), nil
}

func specOf(properties map[string]string) (*components.Spec, *bytes.Buffer) {
	log, text := record()
	return &components.Spec{Name: "st", Type: "state.x", Version: "v1", Properties: properties, Log: log}, text
}

func TestDecode(t *testing.T) {
	five := 5
	base := func(change func(*sample)) sample {
		s := sample{Host: "localhost:6379", Database: "d", Port: 6379, Mode: "node", Retries: 3, Wait: 250 * time.Millisecond}
		if change != nil {
			change(&s)
		}
		return s
	}
	tests := map[string]struct {
		properties map[string]string
		want       sample
	}{
		"defaults":             {nil, base(nil)},
		"any case":             {map[string]string{"REDISHOST": "h"}, base(func(s *sample) { s.Host = "h" })},
		"the exact name first": {map[string]string{"REDISHOST": "other", "redisHost": "h"}, base(func(s *sample) { s.Host = "h" })},
		"alias":                {map[string]string{"Server": "h"}, base(func(s *sample) { s.Host = "h" })},
		"name before alias":    {map[string]string{"server": "s", "redisHost": "h"}, base(func(s *sample) { s.Host = "h" })},
		"embedded":             {map[string]string{"name": "n"}, base(func(s *sample) { s.Name = "n" })},
		"text kept as it is":   {map[string]string{"redisPassword": " a b "}, base(func(s *sample) { s.Password = " a b " })},
		"oneof in any case":    {map[string]string{"mode": "CLUSTER"}, base(func(s *sample) { s.Mode = "cluster" })},
		"numbers":              {map[string]string{"retries": " -1 ", "port": "65535", "ratio": "0.5"}, base(func(s *sample) { s.Retries, s.Port, s.Ratio = -1, 65535, 0.5 })},
		"pointer":              {map[string]string{"pool": "5"}, base(func(s *sample) { s.Pool = &five })},
		"empty number":         {map[string]string{"retries": "", "pool": "", "enableTLS": "", "wait": ""}, base(nil)},
		"true":                 {map[string]string{"enableTLS": "Yes"}, base(func(s *sample) { s.TLS = true })},
		"false":                {map[string]string{"enableTLS": "off"}, base(nil)},
		"milliseconds":         {map[string]string{"wait": "1500"}, base(func(s *sample) { s.Wait = 1500 * time.Millisecond })},
		"seconds":              {map[string]string{"age": "90"}, base(func(s *sample) { s.Age = 90 * time.Second })},
		"Go duration":          {map[string]string{"wait": "2m", "age": "1h30m"}, base(func(s *sample) { s.Wait, s.Age = 2*time.Minute, 90*time.Minute })},
		"negative duration":    {map[string]string{"wait": "-1"}, base(func(s *sample) { s.Wait = -time.Millisecond })},
		"list":                 {map[string]string{"topics": "a, b,,c "}, base(func(s *sample) { s.Topics = []string{"a", "b", "c"} })},
		"PEM":                  {map[string]string{"clientCert": certificate}, base(func(s *sample) { s.Cert = certificate })},
		"no PEM":               {map[string]string{"clientCert": ""}, base(nil)},
		"what the sidecar reads": {map[string]string{"keyprefix": "none", "actorStateStore": "true", "primaryEncryptionKey": "k", "outboxPublishTopic": "t",
			"consumerID": "c", "allowedTopics": "t", "scopes": "a", "route": "/r", "direction": "input"}, base(nil)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			properties := map[string]string{"database": "d"}
			for k, v := range test.properties {
				properties[k] = v
			}
			spec, log := specOf(properties)
			var got sample
			if err := components.Decode(spec, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(sample{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if log.Len() > 0 {
				t.Errorf("it logged %s", log)
			}
		})
	}
}

func TestTruth(t *testing.T) {
	for text, want := range map[string]bool{"y": true, "YES": true, "true": true, "t": true, "On": true, "1": true, " true ": true,
		"n": false, "no": false, "FALSE": false, "f": false, "off": false, "0": false} {
		spec, _ := specOf(map[string]string{"on": text})
		into := struct {
			On bool `metadata:"on"`
		}{On: !want}
		if err := components.Decode(spec, &into); err != nil || into.On != want {
			t.Errorf("%q: %t, %v", text, into.On, err)
		}
	}
}

func TestUnusableValues(t *testing.T) {
	tests := map[string]struct{ property, value, want string }{
		"truth":             {"enableTLS", "maybe", `metadata property enableTLS: "maybe" is not usable: want true or false`},
		"whole number":      {"retries", "3.5", `metadata property retries: "3.5" is not usable: want a whole number`},
		"too large":         {"retries", "99999999999999999999", `want a whole number`},
		"port":              {"port", "65536", `metadata property port: the value (not shown) is not usable: want a whole number from 0 to 65535`},
		"pointer":           {"pool", "x", `want a whole number`},
		"number":            {"ratio", "a lot", `want a number`},
		"no number":         {"ratio", "NaN", `want a number`},
		"duration":          {"wait", "soon", `want a duration like 500ms or 2m, or a whole number of milliseconds`},
		"duration, seconds": {"age", "1.5", `or a whole number of seconds`},
		"endless duration":  {"age", "9223372036854775807", `want a duration`},
		"choice":            {"mode", "sentinel", `metadata property mode: "sentinel" is not usable: want one of node, cluster`},
		"PEM":               {"clientCert", "opensesame", `metadata property clientCert: the value (not shown) is not usable: want a PEM text`},
		"missing":           {"database", "", `metadata property database is missing: want a text`},
		"named as written":  {"MODE", "x", `metadata property mode: "x"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			spec, _ := specOf(map[string]string{"database": "d", test.property: test.value})
			err := components.Decode(spec, &sample{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %s", err, test.want)
			}
			if strings.Contains(err.Error(), "opensesame") || strings.Contains(err.Error(), "65536") {
				t.Errorf("the error %v shows a secret", err)
			}
		})
	}
	spec, _ := specOf(map[string]string{"mode": "x", "retries": "y"})
	err := components.Decode(spec, &sample{})
	want := `metadata property database is missing: want a text; metadata property mode: "x" is not usable: want one of node, cluster; ` +
		`metadata property retries: "y" is not usable: want a whole number`
	if err == nil || err.Error() != want {
		t.Errorf("all faults in one line: got %v", err)
	}
}

// TestValuesOfSecretsAreNotShown: whatever the field, a value that came from a secret is one.
func TestValuesOfSecretsAreNotShown(t *testing.T) {
	spec, _ := specOf(map[string]string{"database": "d", "Retries": "hunter2", "mode": "hunter3", "wait": "soon"})
	spec.Withheld = []string{"Retries", "mode"}
	err := components.Decode(spec, &sample{})
	want := "metadata property mode: the value (not shown) is not usable: want one of node, cluster; " +
		"metadata property retries: the value (not shown) is not usable: want a whole number; " +
		`metadata property wait: "soon" is not usable: want a duration like 500ms or 2m, or a whole number of milliseconds`
	if err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

func TestUnknownProperties(t *testing.T) {
	spec, log := specOf(map[string]string{"database": "d", "redisHsot": "opensesame", "somethingElse": "x", strings.Repeat("k", 1000): "x"})
	if err := components.Decode(spec, &sample{}); err != nil {
		t.Fatal(err)
	}
	want := "warning component st (state.x/v1): metadata property \"" + strings.Repeat("k", 1000) + "\" is not known and has no effect\n" +
		"warning component st (state.x/v1): metadata property \"redisHsot\" is not known and has no effect; did you mean redisHost?\n" +
		"warning component st (state.x/v1): metadata property \"somethingElse\" is not known and has no effect\n"
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Error(diff)
	}
}

func TestHas(t *testing.T) {
	spec, _ := specOf(map[string]string{"RedisHost": ""})
	if !spec.Has("redishost") || spec.Has("redisPort") {
		t.Error("Has does not tell what the manifest names")
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "true", "-1", "250ms", "node", "a,b", certificate, "1e309", "9223372036854775807", "\x00"} {
		f.Add("retries", seed)
		f.Add("wait", seed)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		const mark = "a mark that no value has by chance"
		properties := map[string]string{"database": "d", "redisPassword": mark, "clientCert": mark, name: value}
		for _, field := range []string{"enableTLS", "ratio", "age", "topics", "mode", "pool"} {
			properties[field] = value
		}
		spec, log := specOf(properties)
		var got sample
		err := components.Decode(spec, &got)
		if err != nil && strings.Contains(err.Error(), mark) || strings.Contains(log.String(), mark) {
			t.Errorf("a secret is shown: %v, %s", err, log)
		}
		if math.IsNaN(got.Ratio) || math.IsInf(got.Ratio, 0) || (got.Mode != "node" && got.Mode != "cluster" && err == nil) {
			t.Errorf("accepted %+v", got)
		}
	})
}
