package injector

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/sirupsen/logrus"
)

// Webhook is one without a cluster. The components are a list as JSON.
type Webhook struct {
	Mesh             Mesh
	Accounts, Prefix string
	Components       []byte
	Anchors          string
	WithoutMTLS      bool
	Log              logrus.FieldLogger
}

// Handler is the webhook's.
func (w *Webhook) Handler() (http.Handler, error) {
	callers, err := newCallers(w.Accounts, w.Prefix)
	if err != nil {
		return nil, err
	}
	if err := w.Mesh.validate(); err != nil {
		return nil, err
	}
	return &webhook{mesh: &w.Mesh, callers: callers, components: listed(w.Components), metrics: newMetrics(), log: w.Log,
		trust: func() (string, bool) { return w.Anchors, !w.WithoutMTLS }}, nil
}

type listed []byte

func (l listed) components(context.Context, string) (all []component, err error) {
	if len(l) == 0 {
		return nil, nil
	}
	return all, json.Unmarshal(l, &all)
}
