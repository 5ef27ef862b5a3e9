package http

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/actors/reminders"
	"github.com/daprd/daprd/pkg/actors/timers"
	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/jsontext"
)

// callbackRoutes are the routes of reminders and timers.
func (s *Server) callbackRoutes() []route {
	const reminder, timer = "actors/{name}/{key}/reminders/{timer}", "actors/{name}/{key}/timers/{timer}"
	write, del, stable := []string{"POST", "PUT"}, []string{"DELETE"}, []string{v1}
	return []route{
		{methods: write, versions: stable, path: reminder, group: actorsGroup, name: "RegisterActorReminder", handle: s.createReminder},
		{methods: []string{"GET"}, versions: stable, path: reminder, group: actorsGroup, name: "GetActorReminder", handle: s.getReminder},
		{methods: []string{"PATCH"}, versions: stable, path: reminder, group: actorsGroup, name: "RenameActorReminder", handle: s.renameReminder},
		{methods: del, versions: stable, path: reminder, group: actorsGroup, name: "UnregisterActorReminder", handle: s.deleteReminder},
		{methods: write, versions: stable, path: timer, group: actorsGroup, name: "RegisterActorTimer", handle: s.createTimer},
		{methods: del, versions: stable, path: timer, group: actorsGroup, name: "UnregisterActorTimer", handle: s.deleteTimer},
	}
}

// reminderBody registers a reminder, or a timer.
type reminderBody struct {
	Data     json.RawMessage
	DueTime  string
	Period   string
	TTL      string
	Callback string
	// Overwrite is true unless it is said.
	Overwrite *bool
	Failure   *failureBody `json:"failure_policy"`
}

// data are those of the body; null is none.
func (b *reminderBody) data() []byte {
	if string(b.Data) == "null" {
		return nil
	}
	return b.Data
}

// callback names the reminder or timer of the path, in memory that outlives the call.
func (c *call) callback() (actorType, actorID, name string) {
	actorType, actorID = c.actor()
	return strings.Clone(actorType), strings.Clone(actorID), strings.Clone(c.parameter("timer"))
}

func (s *Server) createReminder(c *call) {
	var body reminderBody
	if !c.decode(&body) {
		return
	}
	failure, err := body.Failure.failure()
	if err != nil {
		c.fail(apierr.MalformedBody.New(err))
		return
	}
	actorType, actorID, name := c.callback()
	c.done(s.blocks.Actors.CreateReminder(c.Context(), &reminders.Reminder{ActorType: actorType, ActorID: actorID, Name: name,
		Data: body.data(), DueTime: body.DueTime, Period: body.Period, TTL: body.TTL, Failure: failure}, body.Overwrite == nil || *body.Overwrite))
}

// failureBody is the failure policy: {"drop":{}} or {"constant":{"interval":"1s","maxRetries":3}}.
type failureBody struct {
	Drop     *struct{}
	Constant *struct {
		Interval   string
		MaxRetries *uint32
		// Retries is the name of the field in the schema, which protobuf's JSON takes too.
		Retries *uint32 `json:"max_retries"`
	}
}

// failure is the policy in the words of the block, nil for none.
func (b *failureBody) failure() (*reminders.Failure, error) {
	switch {
	case b == nil || b.Drop == nil && b.Constant == nil:
		return nil, nil
	case b.Drop != nil:
		return &reminders.Failure{}, nil
	}
	failure := &reminders.Failure{Retries: -1}
	if retries := cmp.Or(b.Constant.MaxRetries, b.Constant.Retries); retries != nil {
		failure.Retries = int(*retries)
	}
	if b.Constant.Interval == "" {
		return failure, nil
	}
	var err error
	failure.Interval, err = time.ParseDuration(b.Constant.Interval)
	return failure, err
}

func (s *Server) getReminder(c *call) {
	actorType, actorID := c.actor()
	r, err := s.blocks.Actors.GetReminder(c.Context(), actorType, actorID, c.parameter("timer"))
	if err != nil {
		c.fail(err)
		return
	}
	c.json(fasthttp.StatusOK, appendReminder(nil, r))
}

// appendReminder writes a reminder as Dapr 1.18 does: what is empty is left out.
func appendReminder(b []byte, r *reminders.Reminder) []byte {
	b = jsontext.AppendString(append(b, `{"actorID":`...), r.ActorID)
	b = jsontext.AppendString(append(b, `,"actorType":`...), r.ActorType)
	if len(r.Data) > 0 {
		b = append(append(b, `,"data":`...), r.Data...)
	}
	member := func(name, value string) {
		if value != "" {
			b = jsontext.AppendString(append(append(append(b, `,"`...), name...), `":`...), value)
		}
	}
	member("dueTime", r.DueTime)
	member("period", r.Period)
	if !r.Expires.IsZero() {
		member("ttl", r.Expires.UTC().Format(time.RFC3339Nano))
	}
	return append(b, '}')
}

func (s *Server) renameReminder(c *call) {
	var body struct{ NewName string }
	if !c.decode(&body) {
		return
	}
	actorType, actorID := c.actor()
	c.done(s.blocks.Actors.RenameReminder(c.Context(), actorType, actorID, c.parameter("timer"), body.NewName))
}

func (s *Server) deleteReminder(c *call) {
	actorType, actorID := c.actor()
	c.done(s.blocks.Actors.DeleteReminder(c.Context(), actorType, actorID, c.parameter("timer")))
}

func (s *Server) createTimer(c *call) {
	var body reminderBody
	if !c.decode(&body) {
		return
	}
	actorType, actorID, name := c.callback()
	c.done(s.blocks.Actors.CreateTimer(&timers.Timer{ActorType: actorType, ActorID: actorID, Name: name, Callback: body.Callback,
		Data: body.data(), DueTime: body.DueTime, Period: body.Period, TTL: body.TTL}))
}

func (s *Server) deleteTimer(c *call) {
	actorType, actorID := c.actor()
	c.done(s.blocks.Actors.DeleteTimer(actorType, actorID, c.parameter("timer")))
}
