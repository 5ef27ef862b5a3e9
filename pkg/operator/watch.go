package operator

import (
	"context"
	"errors"
	"reflect"
	"sync"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

// watcher makes the informers, and tells of those that cannot see. An informer goes on by itself when the API server is
// back, with all that it missed.
type watcher struct {
	api dynamic.Interface
	// namespace is the only one that is seen, "" for all.
	namespace string
	log       logrus.FieldLogger

	mu sync.Mutex
	// blind is what was logged of the kinds that cannot be seen.
	blind map[string]string
}

// informer sees the objects of a kind, as keep makes them; selector is of labels, "" for all.
func (w *watcher) informer(resource schema.GroupVersionResource, selector string, keep cache.TransformFunc) (cache.SharedIndexInformer, error) {
	objects := w.api.Resource(resource).Namespace(w.namespace)
	name := resource.GroupResource().String()
	informer := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = selector
			found, err := objects.List(ctx, options)
			w.note(ctx, name, err)
			return found, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			found, err := objects.Watch(ctx, options)
			blind := err
			if err == nil && isEmpty(found) {
				blind = errNoAnswer
			}
			w.note(ctx, name, blind)
			return found, err
		},
	}, &unstructured.Unstructured{}, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	if err := informer.SetTransform(keep); err != nil {
		return nil, err
	}
	return informer, informer.SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) {}) // note tells
}

// errNoAnswer is why an API server is not seen that takes connections and says nothing.
var errNoAnswer = errors.New("it does not answer")

// isEmpty says whether a watch is what client-go gives, in place of an error, for a server that lets each connection end or
// time out; the informer then tries again at once.
func isEmpty(found watch.Interface) bool {
	return reflect.TypeOf(found) == reflect.TypeOf(watch.NewEmptyWatch())
}

// note logs that a kind cannot be seen, once, and that it can be again.
func (w *watcher) note(ctx context.Context, name string, err error) {
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	told, isBlind := w.blind[name]
	switch {
	case err == nil && isBlind:
		delete(w.blind, name)
		w.log.Infof("The API server shows %s again", name)
	case err != nil && !apierrors.IsResourceExpired(err) && !apierrors.IsInvalid(err) && told != err.Error():
		w.blind[name] = err.Error()
		w.log.Warnf("The API server does not show %s; what was seen last holds until it does: %s", name, err)
	}
}
