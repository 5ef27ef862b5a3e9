package runtime

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain looks for goroutines left behind. fasthttp keeps one for the time of day as long as the process lives.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}
