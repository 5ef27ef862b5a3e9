package logging_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/logging"
)

func TestTextEntry(t *testing.T) {
	var out bytes.Buffer
	logs, err := logging.New(logging.Options{AppID: "nodeapp", Version: "1.2.3", Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	logs.Scope("dapr.runtime").Warn("app id: nodeapp")
	host, _ := os.Hostname()
	want := regexp.MustCompile(`^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)" level=warning msg="app id: nodeapp" app_id=nodeapp instance=` +
		regexp.QuoteMeta(host) + ` scope=dapr.runtime type=log ver=1\.2\.3\n$`)
	if !want.MatchString(out.String()) {
		t.Errorf("entry %q does not match %s", out.String(), want)
	}
}

func TestTextQuotesWhatIsEmpty(t *testing.T) {
	var out bytes.Buffer
	logs, err := logging.New(logging.Options{Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	logs.Scope("dapr.runtime").WithField("code", "").Info("word")
	for _, part := range []string{"msg=word", `code=""`, "ver=unknown"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("entry %q lacks %s", out.String(), part)
		}
	}
	if strings.Contains(out.String(), "app_id") {
		t.Errorf("entry %q has an app_id without an app id", out.String())
	}
}

func TestJSONEntry(t *testing.T) {
	var out bytes.Buffer
	logs, err := logging.New(logging.Options{AppID: "a", JSON: true, Version: "v", Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	logs.Scope("dapr.contrib").Info("announced: a -> 10.0.0.1:5000")
	if !strings.Contains(out.String(), `announced: a -\u003e 10.0.0.1:5000`) {
		t.Errorf("entry %q does not escape >", out.String())
	}
	var entry map[string]string
	if err := json.Unmarshal(out.Bytes(), &entry); err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	delete(entry, "time")
	want := map[string]string{"app_id": "a", "instance": host, "level": "info", "msg": "announced: a -> 10.0.0.1:5000",
		"scope": "dapr.contrib", "type": "log", "ver": "v"}
	if diff := cmp.Diff(want, entry); diff != "" {
		t.Error(diff)
	}
}

func TestLevels(t *testing.T) {
	tests := map[string]struct {
		level   string
		written []string
		fails   bool
	}{
		"default":       {"", []string{"info", "warning", "error"}, false},
		"debug":         {"debug", []string{"debug", "info", "warning", "error"}, false},
		"upper case":    {"WARN", []string{"warning", "error"}, false},
		"unknown":       {"loud", nil, true},
		"logrus's word": {"warning", nil, true},
		"trace":         {"trace", nil, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			logs, err := logging.New(logging.Options{Level: test.level, Output: &out})
			if test.fails {
				if err == nil || !strings.Contains(err.Error(), "invalid value for --log-level: "+test.level) {
					t.Fatalf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			log := logs.Scope("s")
			log.Debug("m")
			log.Info("m")
			log.Warn("m")
			log.Error("m")
			var written []string
			for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
				_, rest, _ := strings.Cut(line, "level=")
				level, _, _ := strings.Cut(rest, " ")
				written = append(written, level)
			}
			if diff := cmp.Diff(test.written, written); diff != "" {
				t.Error(diff)
			}
		})
	}
}
