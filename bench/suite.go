package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// bodySize is the payload of every scenario, in bytes (design, section 8).
const bodySize = 1024

type suite struct {
	daprd       string
	sentry      string
	placement   string
	duration    time.Duration
	connections int
	only        string
	profiles    string

	dir    string
	echo   *app
	caller *sidecar
	callee *sidecar
	direct float64 // processor µs of a direct call: client and application
}

// scenario is one row of the table.
type scenario struct {
	name string
	// run puts load on the sidecars and gives the result, and the processor time of who made the load.
	run      func() (result, time.Duration, error)
	sidecars []*sidecar
	budget   string
}

func (s *suite) run(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "daprd-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	if err := s.writeManifests(); err != nil {
		return err
	}
	if s.echo, err = startApp("echo"); err != nil {
		return err
	}
	defer s.echo.stop()
	if err := s.standing(ctx); err != nil {
		return err
	}
	if s.callee, err = startSidecar(ctx, s.daprd, s.dir, "callee", s.echo.port); err != nil {
		return err
	}
	defer s.callee.stop()
	if s.caller, err = startSidecar(ctx, s.daprd, s.dir, "caller", 0); err != nil {
		return err
	}
	defer s.caller.stop()
	if err := s.table(ctx); err != nil {
		return err
	}
	if err := errors.Join(s.activation(ctx), s.reminders(ctx)); err != nil {
		return err
	}
	if err := s.dissemination(ctx); err != nil {
		return err
	}
	return s.streaming(ctx)
}

func (s *suite) writeManifests() error {
	components := filepath.Join(s.dir, "components")
	if err := os.Mkdir(components, 0o700); err != nil {
		return err
	}
	many := fmt.Sprintf("  metadata:\n  - name: concurrency\n    value: %q\n", strconv.Itoa(s.connections))
	const actors = "  metadata:\n  - name: actorStateStore\n    value: \"true\"\n"
	manifests := []string{component("store", "state.in-memory", actors), component("ordered", "pubsub.in-memory", ""), component("memory", "pubsub.in-memory", many)}
	return os.WriteFile(filepath.Join(components, "components.yaml"), []byte(strings.Join(manifests, "---\n")), 0o600)
}

// component is a manifest; metadata are lines of its spec.
func component(name, kind, metadata string) string {
	return fmt.Sprintf("apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: %s\nspec:\n  type: %s\n  version: v1\n%s", name, kind, metadata)
}

// standing measures what needs no load: the binary, the start, the memory of an idle sidecar.
func (s *suite) standing(ctx context.Context) error {
	info, err := os.Stat(s.daprd)
	if err != nil {
		return fmt.Errorf("%w; build it with `make build`", err)
	}
	var starts []time.Duration
	var idle int64
	for range 11 {
		sidecar, err := startSidecar(ctx, s.daprd, s.dir, "idle", 0)
		if err != nil {
			return err
		}
		starts = append(starts, sidecar.ready)
		time.Sleep(300 * time.Millisecond) // what start-up freed has to settle before memory is read
		idle, _ = sidecar.memory()
		sidecar.stop()
	}
	sort.Slice(starts, func(i, j int) bool { return starts[i] < starts[j] })
	fmt.Printf("%-52s %10s   budget\n", "standing", "measured")
	fmt.Printf("%-52s %7.1f MB   50 MB\n", "binary", float64(info.Size())/1e6)
	fmt.Printf("%-52s %7.1f ms   40 ms   (median of %d, best %.1f ms)\n", "start to healthz = 204, in-memory store and broker",
		millis(starts[len(starts)/2]), len(starts), millis(starts[0]))
	fmt.Printf("%-52s %6.1f MiB   25 MiB\n\n", "idle resident memory, the same", mib(idle))
	return s.inits()
}

// inits prints the packages whose initialisation is not cheap.
func (s *suite) inits() error {
	command := exec.Command(s.daprd, "--version")
	command.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("daprd --version: %w", err)
	}
	fmt.Println("package initialisation above 0.2 ms or 100 KiB (limit for one: 2 ms, 1 MiB):")
	for line := range strings.Lines(string(out)) {
		var name string
		var at, clock float64
		var bytes, allocations int64
		if n, _ := fmt.Sscanf(line, "init %s @%f ms, %f ms clock, %d bytes, %d allocs", &name, &at, &clock, &bytes, &allocations); n == 5 && (clock > 0.2 || bytes > 100<<10) {
			fmt.Printf("  %-60s %6.2f ms %8.1f KiB\n", name, clock, float64(bytes)/1024)
		}
	}
	fmt.Println()
	return nil
}

func (s *suite) table(ctx context.Context) error {
	if err := fill(s.callee); err != nil {
		return err
	}
	both, one := []*sidecar{s.caller, s.callee}, []*sidecar{s.callee}
	direct := fmt.Sprintf("http://127.0.0.1:%d/echo", s.echo.port)
	fmt.Printf("%-44s %8s %8s %8s %8s %9s %7s %7s %9s %6s\n", "scenario", "req/s", "mean µs", "p50 µs", "p99 µs", "cpu µs/r", "ratio", "budget", "MiB", "errors")
	for _, c := range []scenario{
		{"direct", s.load("POST", direct, bodySize), nil, ""},
		{"invoke: HTTP, sidecar, sidecar, HTTP", s.load("POST", s.caller.url("/v1.0/invoke/callee/method/echo"), bodySize), both, "6.0"},
		{"invoke: HTTP, own sidecar, HTTP", s.load("POST", s.callee.url("/v1.0/invoke/callee/method/echo"), bodySize), one, ""},
		{"state get: HTTP, in memory", s.load("GET", s.callee.url("/v1.0/state/store/key"), 0), one, "1.0"},
		{"actor call: HTTP, own sidecar, HTTP", s.load("POST", s.callee.url("/v1.0/actors/"+actorType+"/{actor}/method/echo"), bodySize), one, "2.5"},
		{"actor call: HTTP, sidecar, sidecar, HTTP", s.load("POST", s.caller.url("/v1.0/actors/"+actorType+"/{actor}/method/echo"), bodySize), both, ""},
		{"healthz: HTTP", s.load("GET", s.callee.url("/v1.0/healthz"), 0), one, ""},
	} {
		if err := s.row(ctx, c); err != nil {
			return err
		}
	}
	if err := s.secured(ctx); err != nil {
		return err
	}
	for _, o := range observations {
		if err := s.observed(ctx, o); err != nil {
			return err
		}
	}
	for _, p := range publications {
		if err := s.published(ctx, p); err != nil {
			return err
		}
	}
	if err := s.row(ctx, scenario{"direct, once more", s.load("POST", direct, bodySize), nil, ""}); err != nil {
		return err
	}
	fmt.Println("\ncpu µs/r: processor time of all sidecars for one request; of client and application in the direct rows. ratio: that, to the direct row.")
	fmt.Println("A request of the publish rows is a message that was published and delivered; their latencies are those of a call until all its messages were delivered.")
	return nil
}

// wanted says whether a scenario is to run. The direct call, which others are held against, always is.
func (s *suite) wanted(name string) bool { return strings.Contains(name, s.only) || name == "direct" }

func (s *suite) load(verb, url string, size int) func() (result, time.Duration, error) {
	return func() (result, time.Duration, error) { return runClient(s.duration, s.connections, verb, url, size) }
}

func (s *suite) row(ctx context.Context, c scenario) error {
	if !s.wanted(c.name) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.measure(c); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// fill puts the value that state get reads.
func fill(into *sidecar) error {
	body := fmt.Sprintf(`[{"key":"key","value":"%s"}]`, strings.Repeat("x", bodySize-2))
	response, err := http.Post(into.url("/v1.0/state/store"), "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("state save answered %s", response.Status)
	}
	return nil
}

func (s *suite) measure(c scenario) error {
	stopProfiles := s.profile(c)
	before := s.processor(c.sidecars)
	echoBefore := s.echo.processor()
	r, clientTime, err := c.run()
	if err != nil {
		return err
	}
	used := s.processor(c.sidecars) - before
	if c.sidecars == nil {
		used = clientTime + s.echo.processor() - echoBefore
	}
	stopProfiles()
	// The warm-up is a tenth of the run and is in the processor time too.
	cost := float64(used.Microseconds()) / (float64(r.Requests) * 1.1)
	if s.direct == 0 {
		s.direct = cost
	}
	var resident int64
	for _, sidecar := range c.sidecars {
		now, _ := sidecar.memory()
		resident += now
	}
	fmt.Printf("%-44s %8.0f %8.0f %8.0f %8.0f %9.1f %7.2f %7s %9.1f %6d\n", c.name, float64(r.Requests)/r.Elapsed.Seconds(),
		micros(r.Mean), micros(r.P50), micros(r.P99), cost, cost/s.direct, c.budget, mib(resident), r.Errors)
	if r.Errors > 0 {
		fmt.Println("  first error:", r.FirstFail)
	}
	return nil
}

func (s *suite) processor(sidecars []*sidecar) (sum time.Duration) {
	for _, sidecar := range sidecars {
		sum += sidecar.processor()
	}
	return sum
}

// profile takes a processor profile of every sidecar while a scenario runs.
func (s *suite) profile(c scenario) (wait func()) {
	if s.profiles == "" {
		return func() {}
	}
	done := make(chan error, len(c.sidecars))
	for i, sidecar := range c.sidecars {
		go func() {
			url := fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/profile?seconds=%d", sidecar.profile, max(1, int(s.duration.Seconds())-1))
			name := fmt.Sprintf("%s-%d.pprof", strings.NewReplacer(":", "", ",", "", " ", "-").Replace(c.name), i)
			done <- download(url, filepath.Join(s.profiles, name))
		}()
	}
	return func() {
		for range c.sidecars {
			if err := <-done; err != nil {
				fmt.Fprintln(os.Stderr, "bench: profile:", err)
			}
		}
	}
}

func download(url, path string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, response.Body)
	return errors.Join(err, out.Close())
}

// streaming sends 1 GiB through two fresh sidecars and back, and looks at how far their memory grew.
func (s *suite) streaming(ctx context.Context) error {
	if !strings.Contains("streaming", s.only) {
		return nil
	}
	app, err := startApp("streaming-echo")
	if err != nil {
		return err
	}
	defer app.stop()
	receiver, err := startSidecar(ctx, s.daprd, s.dir, "receiver", app.port, "--max-body-size", "2Gi")
	if err != nil {
		return err
	}
	defer receiver.stop()
	sender, err := startSidecar(ctx, s.daprd, s.dir, "sender", 0, "--max-body-size", "2Gi")
	if err != nil {
		return err
	}
	defer sender.stop()

	both := map[string]*sidecar{"sender": sender, "receiver": receiver}
	before := map[string]int64{}
	for name, sidecar := range both {
		sidecar.forgetPeak()
		before[name], _ = sidecar.memory()
	}
	began := time.Now()
	if err := thereAndBack(ctx, sender.url("/v1.0/invoke/receiver/method/echo"), 1<<30); err != nil {
		return fmt.Errorf("stream 1 GiB: %w", err)
	}
	fmt.Printf("\n1 GiB there and back through two sidecars: %.1f s\n", time.Since(began).Seconds())
	for name, sidecar := range both {
		_, peak := sidecar.memory()
		fmt.Printf("  %s: at most %.1f MiB above idle   budget 20 MiB\n", name, mib(peak-before[name]))
	}
	return nil
}

func thereAndBack(ctx context.Context, url string, size int64) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, io.LimitReader(zeros{}, size))
	if err != nil {
		return err
	}
	request.ContentLength = size
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	n, err := io.Copy(io.Discard, response.Body)
	if err == nil && (n != size || response.StatusCode != http.StatusOK) {
		err = fmt.Errorf("%s, %d bytes came back", response.Status, n)
	}
	return err
}

// zeros is an endless stream.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func mib(n int64) float64            { return float64(n) / (1 << 20) }
