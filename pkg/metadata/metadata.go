// Package metadata tells what this sidecar is and how it does: the metadata API, the health targets and
// the request to shut down. It gathers from the other blocks through the sources it is given and knows no
// wire.
package metadata

import (
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/pubsub"
)

// Info is the content of the metadata API. Empty parts are left out by the transports.
type Info struct {
	ID              string
	RuntimeVersion  string
	EnabledFeatures []string
	Actors          []ActorCount
	Components      []Component
	// Extended holds what applications and the CLI have set, and daprRuntimeVersion.
	Extended      map[string]string
	HTTPEndpoints []string
	// Resiliencies are the Resiliency resources in force.
	Resiliencies []string
	// Subscriptions are those in force.
	Subscriptions []pubsub.Subscription
	App           AppConnection
	ActorRuntime  ActorRuntime
}

// ActorCount is the number of active actors of one type.
type ActorCount struct {
	Type  string
	Count int
}

// Component is one initialised component.
type Component struct {
	Name, Type, Version string
	Capabilities        []string
}

// AppConnection says how the sidecar reaches the application. Port 0 means that there is none.
type AppConnection struct {
	Port           int
	Protocol       string
	ChannelAddress string
	// MaxConcurrency is the bound on calls at once, 0 for none.
	MaxConcurrency int
	// Health says how its health is looked after, nil where it is not.
	Health *AppHealth
}

// AppHealth says how the health of the application is looked after.
type AppHealth struct {
	Path              string
	Interval, Timeout time.Duration
	Threshold         int
}

// ActorRuntime is the state of the actor runtime.
type ActorRuntime struct {
	Status    ActorStatus
	HostReady bool
	Placement string
}

// ActorStatus has the numbers of the protocol's ActorRuntimeStatus.
type ActorStatus int

// The states of the actor runtime.
const (
	ActorsInitializing ActorStatus = iota
	ActorsDisabled
	ActorsRunning
)

// String is the name that the HTTP API prints.
func (s ActorStatus) String() string {
	return [...]string{"INITIALIZING", "DISABLED", "RUNNING"}[s]
}

// Sources are where the parts of Info come from. They are asked at each call of Info.
type Sources struct {
	ID, RuntimeVersion string
	EnabledFeatures    func() []string
	Components         func() []Component
	HTTPEndpoints      func() []string
	Resiliencies       func() []string
	App                func() AppConnection
	Subscriptions      func() []pubsub.Subscription
	Actors             func() []ActorCount
	ActorRuntime       func() ActorRuntime
	// Attributes are what the sidecar itself adds to Info.Extended: component.<name> for each component and
	// subscription.<pubsub>.<topic> for each subscription that does not work now, with the reason. nil adds none.
	Attributes func() map[string]string
}

// Service is the metadata API. Its methods may be called by many goroutines at once.
type Service struct {
	sources Sources

	mu       sync.Mutex
	extended map[string]string
	// size is the bytes of all keys and values of extended.
	size int
}

// maxExtended bounds the attributes that callers can set: they stay in memory until the end.
const maxExtended = 1000

// maxExtendedSize bounds, in bytes, the keys and values of all these attributes together: the public port takes
// them from anybody, and every answer holds them.
const maxExtendedSize = 1 << 20

// New makes the service; every source must be there.
func New(sources Sources) *Service {
	return &Service{sources: sources, extended: make(map[string]string)}
}

// Info puts the metadata together.
func (s *Service) Info() Info {
	return Info{
		ID:              s.sources.ID,
		RuntimeVersion:  s.sources.RuntimeVersion,
		EnabledFeatures: s.sources.EnabledFeatures(),
		Components:      s.sources.Components(),
		Extended:        s.attributes(),
		HTTPEndpoints:   s.sources.HTTPEndpoints(),
		Resiliencies:    s.sources.Resiliencies(),
		Subscriptions:   s.sources.Subscriptions(),
		App:             s.sources.App(),
		Actors:          s.sources.Actors(),
		ActorRuntime:    s.sources.ActorRuntime(),
	}
}

// Set keeps an attribute in memory; an empty key does nothing. When there are 1000 attributes already and
// key is not among them, or when all together would hold more than 1 MiB, the error is an *apierr.Error.
func (s *Service) Set(key, value string) error {
	if key == "" {
		return nil
	}
	// Bytes of HTTP callers that are no text would make the answer of the gRPC API unreadable for all.
	key, value = strings.ToValidUTF8(key, "\uFFFD"), strings.ToValidUTF8(value, "\uFFFD")
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.extended[key]
	if !known && len(s.extended) >= maxExtended {
		return apierr.TooManyAttributes.New(maxExtended)
	}
	size := s.size + len(value) - len(before)
	if !known {
		size += len(key)
	}
	if size > maxExtendedSize {
		return apierr.AttributesTooLarge.New(maxExtendedSize)
	}
	s.extended[key], s.size = value, size
	return nil
}

func (s *Service) attributes() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]string, len(s.extended)+1)
	for k, v := range s.extended {
		all[k] = v
	}
	if s.sources.Attributes != nil {
		maps.Copy(all, s.sources.Attributes())
	}
	all["daprRuntimeVersion"] = s.sources.RuntimeVersion
	return all
}
