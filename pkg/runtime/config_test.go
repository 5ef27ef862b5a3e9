package runtime_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/security"
)

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*runtime.Config)
		want   string // "" for a valid Config
	}{
		"valid":                           {func(*runtime.Config) {}, ""},
		"no app id":                       {func(c *runtime.Config) { c.AppID = "" }, "parameter app-id cannot be empty"},
		"dots":                            {func(c *runtime.Config) { c.AppID = "a.b" }, "parameter app-id cannot contain dots: a.b"},
		"dots in kubernetes":              {func(c *runtime.Config) { c.AppID, c.Mode = "a.b", runtime.Kubernetes }, ""},
		"unknown mode":                    {func(c *runtime.Config) { c.Mode = "foo" }, "invalid mode: foo"},
		"app on the HTTP port":            {func(c *runtime.Config) { c.AppPort = 3500 }, "the 'dapr-http-port' argument value 3500 conflicts with 'app-port'"},
		"app on the gRPC port":            {func(c *runtime.Config) { c.AppPort = 50001 }, "the 'dapr-grpc-port' argument value 50001 conflicts with 'app-port'"},
		"any port and no app":             {func(c *runtime.Config) { c.HTTPPort, c.GRPCPort = 0, 0 }, ""},
		"the largest header":              {func(c *runtime.Config) { c.ReadBufferSize = 64 << 20 }, ""},
		"header that fills the memory":    {func(c *runtime.Config) { c.ReadBufferSize = 64<<20 + 1 }, "invalid value for 'read-buffer-size' option: 67108865 bytes"},
		"no bounds on bodies and headers": {func(c *runtime.Config) { c.MaxBodySize, c.ReadBufferSize = 0, 0 }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := runtime.Config{Mode: runtime.Standalone, AppID: "a", HTTPPort: runtime.DefaultHTTPPort, GRPCPort: runtime.DefaultGRPCPort}
			test.change(&c)
			err := c.Validate()
			if test.want == "" && err != nil {
				t.Errorf("error %v", err)
			}
			if test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// TestTokensStayHidden prints a Config in every way.
func TestTokensStayHidden(t *testing.T) {
	const secret = "s3cr3t"
	c := runtime.Config{APIToken: security.NewToken(secret), AppToken: security.NewToken(secret)}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("config", "c", c, "token", c.APIToken)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("config", "c", c, "token", c.APIToken)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	log.Write(text)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&log, verb+verb, c, c.APIToken)
	}
	for _, leak := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret)} {
		if strings.Contains(log.String(), leak) {
			t.Errorf("a token was written out: %s", leak)
		}
	}
	if !strings.Contains(log.String(), "***") {
		t.Error("no token was printed at all")
	}
}
