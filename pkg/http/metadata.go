package http

import (
	"encoding/json"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/metadata"
	"github.com/daprd/daprd/pkg/pubsub"
)

// metadataBody is the answer of GET metadata, in the form of Dapr 1.18.
type metadataBody struct {
	ID              string             `json:"id"`
	RuntimeVersion  string             `json:"runtimeVersion"`
	EnabledFeatures []string           `json:"enabledFeatures,omitempty"`
	Actors          []actorCount       `json:"actors,omitempty"`
	Components      []componentBody    `json:"components,omitempty"`
	Extended        map[string]string  `json:"extended,omitempty"`
	Subscriptions   []subscriptionBody `json:"subscriptions,omitempty"`
	HTTPEndpoints   []named            `json:"httpEndpoints,omitempty"`
	App             *appConnection     `json:"appConnectionProperties,omitempty"`
	ActorRuntime    actorRuntime       `json:"actorRuntime"`
	Resiliencies    []named            `json:"resiliencies,omitempty"`
}

type (
	named struct {
		Name string `json:"name"`
	}
	componentBody struct {
		Name         string   `json:"name"`
		Type         string   `json:"type"`
		Version      string   `json:"version,omitempty"`
		Capabilities []string `json:"capabilities,omitempty"`
	}
	subscriptionBody struct {
		PubSub          string            `json:"pubsubname"`
		Topic           string            `json:"topic"`
		Metadata        map[string]string `json:"metadata,omitempty"`
		Rules           []ruleBody        `json:"rules,omitempty"`
		DeadLetterTopic string            `json:"deadLetterTopic"`
		Type            string            `json:"type"`
	}
	ruleBody struct {
		Match string `json:"match,omitempty"`
		Path  string `json:"path,omitempty"`
	}
	actorCount struct {
		Type  string `json:"type"`
		Count int    `json:"count,omitempty"`
	}
	appConnection struct {
		Port           int    `json:"port,omitempty"`
		Protocol       string `json:"protocol,omitempty"`
		ChannelAddress string `json:"channelAddress,omitempty"`
		MaxConcurrency int    `json:"maxConcurrency,omitempty"`

		Health *appHealth `json:"health,omitempty"`
	}
	appHealth struct {
		Path      string `json:"healthCheckPath,omitempty"`
		Interval  string `json:"healthProbeInterval,omitempty"`
		Timeout   string `json:"healthProbeTimeout,omitempty"`
		Threshold int    `json:"healthThreshold,omitempty"`
	}
	actorRuntime struct {
		Status       string       `json:"runtimeStatus"`
		ActiveActors []actorCount `json:"activeActors,omitempty"`
		HostReady    bool         `json:"hostReady"`
		Placement    string       `json:"placement,omitempty"`
	}
)

func (s *Server) getMetadata(c *call) {
	body, err := json.Marshal(newMetadataBody(s.blocks.Metadata.Info()))
	if err != nil {
		c.fail(apierr.MetadataGet.New(err))
		return
	}
	c.json(fasthttp.StatusOK, body)
}

func newMetadataBody(info metadata.Info) metadataBody {
	body := metadataBody{
		ID:              info.ID,
		RuntimeVersion:  info.RuntimeVersion,
		EnabledFeatures: info.EnabledFeatures,
		Actors:          counts(info.Actors),
		Extended:        info.Extended,
		ActorRuntime: actorRuntime{
			Status:       info.ActorRuntime.Status.String(),
			ActiveActors: counts(info.Actors),
			HostReady:    info.ActorRuntime.HostReady,
			Placement:    info.ActorRuntime.Placement,
		},
	}
	for _, component := range info.Components {
		body.Components = append(body.Components, componentBody(component))
	}
	for _, s := range info.Subscriptions {
		body.Subscriptions = append(body.Subscriptions, newSubscriptionBody(s))
	}
	for _, endpoint := range info.HTTPEndpoints {
		body.HTTPEndpoints = append(body.HTTPEndpoints, named{endpoint})
	}
	for _, name := range info.Resiliencies {
		body.Resiliencies = append(body.Resiliencies, named{name})
	}
	if info.App != (metadata.AppConnection{}) {
		body.App = newAppConnection(info.App)
	}
	return body
}

func newAppConnection(app metadata.AppConnection) *appConnection {
	body := &appConnection{Port: app.Port, Protocol: app.Protocol, ChannelAddress: app.ChannelAddress, MaxConcurrency: app.MaxConcurrency}
	if h := app.Health; h != nil {
		body.Health = &appHealth{Path: h.Path, Interval: h.Interval.String(), Timeout: h.Timeout.String(), Threshold: h.Threshold}
	}
	return body
}

func newSubscriptionBody(s pubsub.Subscription) subscriptionBody {
	body := subscriptionBody{PubSub: s.PubSub, Topic: s.Topic, Metadata: s.Metadata, DeadLetterTopic: s.DeadLetterTopic, Type: s.Type.String()}
	for _, rule := range s.Rules {
		body.Rules = append(body.Rules, ruleBody(rule))
	}
	return body
}

func counts(actors []metadata.ActorCount) []actorCount {
	var all []actorCount
	for _, actor := range actors {
		all = append(all, actorCount(actor))
	}
	return all
}

// setMetadata keeps the body as an attribute.
func (s *Server) setMetadata(c *call) {
	body, err := c.bytes()
	if err != nil {
		c.fail(apierr.BodyRead.New(err))
		return
	}
	if err := s.blocks.Metadata.Set(c.parameter("key"), string(body)); err != nil {
		c.fail(err)
		return
	}
	c.noContent()
}
