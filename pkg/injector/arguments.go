package injector

import (
	"strconv"
	"strings"
	"time"
)

// arguments are those of daprd, without its name. Order and conditions are Dapr 1.18's.
func (p *pod) arguments() []string {
	s, m := p.settings, p.mesh
	a := new(argumentList)
	a.add("--dapr-http-port", strconv.Itoa(httpPort))
	a.add("--dapr-grpc-port", strconv.Itoa(s.grpcPort))
	a.add("--dapr-internal-grpc-port", strconv.Itoa(s.internalPort))
	a.add("--dapr-listen-addresses", strings.Join(s.listenAddresses, ","))
	a.add("--dapr-public-port", strconv.Itoa(publicPort))
	a.add("--app-id", p.appID)
	a.add("--app-protocol", s.appProtocol)
	a.add("--log-level", s.logLevel)
	a.add("--dapr-graceful-shutdown-seconds", strconv.Itoa(s.graceSeconds))
	a.add("--mode", "kubernetes")
	a.add("--control-plane-address", m.service("dapr-api", 443))
	a.add("--sentry-address", m.service("dapr-sentry", 443))
	a.number("--app-port", s.appPort, 0)
	a.metrics(s)
	a.text("--config", s.configuration)
	a.text("--app-channel-address", s.appAddress)
	a.actors(s, m)
	if m.RemindersService != "" {
		a.add("--reminders-service", m.RemindersService+":"+m.RemindersAddress)
	}
	a.text("--sentry-request-jwt-audiences", strings.Join(s.audiences, ","))
	if s.apiLogging != nil {
		a.alone("--enable-api-logging="+strconv.FormatBool(*s.apiLogging), true)
	}
	a.alone("--disable-builtin-k8s-secret-store", s.withoutSecretStore)
	a.health(s)
	a.duration("--app-binding-options-timeout", s.bindingTimeout)
	a.alone("--log-as-json", s.logAsJSON)
	a.alone("--enable-profiling", s.profiling)
	a.alone("--enable-mtls", p.mtls)
	a.alone("--app-ssl", s.appSSL)
	a.number("--app-max-concurrency", s.appMaxConcurrency, -1)
	a.number("--dapr-http-max-request-size", s.legacyMaxBody, -1)
	a.text("--max-body-size", s.maxBody)
	a.number("--dapr-http-read-buffer-size", s.legacyReadBuffer, -1)
	a.text("--read-buffer-size", s.readBuffer)
	if s.socketFolder != "" {
		a.add("--unix-domain-socket", socketFolder)
	}
	a.duration("--dapr-block-shutdown-duration", s.block)
	a.duration("--actors-disseminate-timeout", s.disseminateTimeout)
	a.scheduler(s, m)
	a.text("--disable-init-endpoints", strings.Join(s.skipInit, ","))
	return a.list
}

// argumentList grows by flags and their values.
type argumentList struct{ list []string }

func (a *argumentList) add(flag, value string) { a.list = append(a.list, flag, value) }

func (a *argumentList) text(flag, value string) {
	if value != "" {
		a.add(flag, value)
	}
}

func (a *argumentList) number(flag string, value, none int) {
	if value != none {
		a.add(flag, strconv.Itoa(value))
	}
}

func (a *argumentList) duration(flag string, value *time.Duration) {
	if value != nil {
		a.add(flag, value.String())
	}
}

func (a *argumentList) alone(flag string, on bool) {
	if on {
		a.list = append(a.list, flag)
	}
}

func (a *argumentList) metrics(s *settings) {
	if !s.metrics {
		a.alone("--enable-metrics=false", true) // without the flag they are served
		return
	}
	a.alone("--enable-metrics", true)
	a.add("--metrics-port", strconv.Itoa(s.metricsPort))
}

func (a *argumentList) health(s *settings) {
	if !s.checkHealth {
		return
	}
	a.alone("--enable-app-health-check", true)
	a.add("--app-health-check-path", s.healthPath)
	a.add("--app-health-probe-interval", strconv.Itoa(s.healthInterval))
	a.add("--app-health-probe-timeout", strconv.Itoa(s.healthTimeout))
	a.add("--app-health-threshold", strconv.Itoa(s.healthThreshold))
}

// actors says where the table of actors comes from: what the pod says goes before what the installation says.
func (a *argumentList) actors(s *settings, m *Mesh) {
	switch {
	case s.placement != nil:
		a.text("--placement-host-address", strings.Join(*s.placement, ","))
	case !m.ActorsEnabled:
	case m.ActorsService != "" && m.ActorsService != placement:
		a.add("--actors-service", m.ActorsService+":"+m.ActorsAddress)
	case m.ActorsAddress != "":
		a.add("--placement-host-address", m.ActorsAddress)
	default:
		a.add("--placement-host-address", m.service("dapr-placement-server", 50005))
	}
}

func (a *argumentList) scheduler(s *settings, m *Mesh) {
	switch {
	case s.scheduler != nil:
		a.text("--scheduler-host-address", strings.Join(*s.scheduler, ","))
	case m.SchedulerEnabled:
		a.add("--scheduler-host-address", m.service("dapr-scheduler-server-a", 443))
	}
}
