package sentry

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/daprd/daprd/pkg/cluster"
)

// bundleName is that of the Secret, and of the ConfigMap with the trust anchors alone.
const bundleName = "dapr-trust-bundle"

// object is one of the API server, sent back with all that came: the right to patch is not given to sentry.
type object map[string]any

func (o object) data() map[string]any {
	data, ok := o["data"].(map[string]any)
	if !ok {
		data = map[string]any{}
		o["data"] = data
	}
	return data
}

// secret keeps the bundle in a Secret, and publishes its anchors in a ConfigMap. Both must exist.
type secret struct {
	cluster   *cluster.Client
	namespace string
	names     names
	// tokens says that the ConfigMap has the set of the keys of tokens, too.
	tokens bool

	// held and published are what load has read; held has the version that save replaces.
	held, published object
}

func (s *secret) path(resource string) []string {
	return []string{"api", "v1", "namespaces", s.namespace, resource, bundleName}
}

// wait passes the time: the API server is asked each time.
func (s *secret) wait(ctx context.Context, interval time.Duration) {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (s *secret) load(ctx context.Context) (c texts, err error) {
	s.held, s.published = object{}, object{}
	if err := s.cluster.Get(ctx, &s.held, s.path("secrets")...); err != nil {
		return texts{}, fmt.Errorf("Secret %s in namespace %s: %w", bundleName, s.namespace, err)
	}
	if err := s.cluster.Get(ctx, &s.published, s.path("configmaps")...); err != nil {
		return texts{}, fmt.Errorf("ConfigMap %s in namespace %s: %w", bundleName, s.namespace, err)
	}
	for _, p := range s.names.parts(&c) {
		encoded, _ := s.held.data()[p.name].(string)
		text, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return texts{}, fmt.Errorf("Secret %s in namespace %s: %s: %w", bundleName, s.namespace, p.name, err)
		}
		*p.text = string(text)
	}
	return c, nil
}

// save writes the Secret first: anchors that are published have their issuer kept.
func (s *secret) save(ctx context.Context, c texts) error {
	changed := false
	data := s.held.data()
	for _, p := range s.names.parts(&c) {
		before, _ := data[p.name].(string)
		after := base64.StdEncoding.EncodeToString([]byte(*p.text))
		if before == after {
			continue
		}
		changed = true
		if data[p.name] = after; after == "" {
			delete(data, p.name)
		}
	}
	if changed {
		if err := s.update(ctx, "secrets", &s.held); err != nil {
			return fmt.Errorf("Secret %s in namespace %s: %w", bundleName, s.namespace, err)
		}
	}
	if !s.publish(&c) {
		return nil
	}
	if err := s.update(ctx, "configmaps", &s.published); err != nil {
		return fmt.Errorf("ConfigMap %s in namespace %s: %w", bundleName, s.namespace, err)
	}
	return nil
}

// publish brings the ConfigMap up to date, and says whether that changed it. Without tokens it has no key set, as in Dapr.
func (s *secret) publish(c *texts) (changed bool) {
	data := s.published.data()
	if data[s.names.anchors] != c.anchors {
		data[s.names.anchors], changed = c.anchors, true
	}
	switch held, there := data[s.names.tokenSet]; {
	case !s.tokens && there:
		delete(data, s.names.tokenSet)
		return true
	case s.tokens && held != c.tokenSet:
		data[s.names.tokenSet], changed = c.tokenSet, true
	}
	return changed
}

// update replaces an object unless it has changed since it was read; another replica may have been faster.
func (s *secret) update(ctx context.Context, resource string, o *object) error {
	stored := object{}
	err := s.cluster.Do(ctx, http.MethodPut, *o, &stored, s.path(resource)...)
	if cluster.Is(err, http.StatusConflict) {
		return errConflict
	}
	if err != nil {
		return err
	}
	*o = stored
	return nil
}
