package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

var servicesResource = schema.GroupVersionResource{Version: "v1", Resource: "services"}

// The pauses before the service of a workload is tried again.
const (
	firstServicePause   = 100 * time.Millisecond
	longestServicePause = time.Minute
	// serviceWorkers is how many workloads are looked at together.
	serviceWorkers = 4
)

// services keeps the service of each workload whose pods have sidecars. It changes and deletes those alone whose owner the
// workload is.
type services struct {
	api     dynamic.Interface
	kinds   []*workloadKind
	log     logrus.FieldLogger
	metrics *metrics

	workloads map[string]cache.SharedIndexInformer
	services  cache.SharedIndexInformer
	queue     workqueue.TypedRateLimitingInterface[workloadKey]
}

// workloadKey names a workload.
type workloadKey struct{ kind, namespace, name string }

// run keeps them until ctx ends.
func (s *services) run(ctx context.Context, seen *watcher) error {
	s.queue = workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[workloadKey](firstServicePause, longestServicePause))
	var err error
	if s.services, err = seen.informer(servicesResource, enabledAnnotation+"=true", keepService); err != nil {
		return err
	}
	s.workloads = map[string]cache.SharedIndexInformer{}
	informers := []cache.SharedIndexInformer{s.services}
	for _, kind := range s.kinds {
		informer, err := seen.informer(kind.resource, "", kind.keep)
		if err != nil {
			return err
		}
		s.workloads[kind.name] = informer
		informers = append(informers, informer)
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer s.queue.ShutDown()
	if err := s.enqueueChanges(); err != nil {
		return err
	}
	var synced []cache.InformerSynced
	for _, informer := range informers {
		work.Go(func() { informer.RunWithContext(ctx) })
		synced = append(synced, informer.HasSynced)
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil
	}
	for range serviceWorkers {
		work.Go(func() {
			for s.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	return nil
}

// enqueueChanges has a workload looked at when it changes, and when its service does.
func (s *services) enqueueChanges() error {
	changed := func(given any) {
		if w, ok := given.(*workload); ok {
			s.queue.Add(workloadKey{w.kind.name, w.Namespace, w.Name})
		}
	}
	serviceChanged := func(given any) {
		if missed, ok := given.(cache.DeletedFinalStateUnknown); ok {
			given = missed.Obj
		}
		service, ok := given.(*unstructured.Unstructured)
		if !ok {
			return
		}
		if owner := metav1.GetControllerOf(service); owner != nil {
			s.queue.Add(workloadKey{owner.Kind, service.GetNamespace(), owner.Name})
		}
	}
	_, err := s.services.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: serviceChanged, UpdateFunc: func(_, after any) { serviceChanged(after) }, DeleteFunc: serviceChanged})
	for _, informer := range s.workloads {
		_, failed := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: changed, UpdateFunc: func(_, after any) { changed(after) }})
		err = errors.Join(err, failed)
	}
	return err
}

func (s *services) next(ctx context.Context) bool {
	key, ended := s.queue.Get()
	if ended {
		return false
	}
	defer s.queue.Done(key)
	err := s.reconcile(ctx, key)
	switch {
	case err == nil || ctx.Err() != nil:
		s.queue.Forget(key)
	default:
		s.log.Warnf("The service of the %s %s of namespace %s cannot be kept; it is tried again: %s", key.kind, key.name, key.namespace, err)
		s.queue.AddRateLimited(key)
	}
	return true
}

// reconcile makes the services of a workload what they should be.
func (s *services) reconcile(ctx context.Context, key workloadKey) error {
	informer, known := s.workloads[key.kind]
	if !known {
		return nil
	}
	found, exists, err := informer.GetIndexer().GetByKey(key.namespace + "/" + key.name)
	if err != nil || !exists {
		return err // the cluster's garbage collector takes what it owned
	}
	w := found.(*workload)
	var wanted *unstructured.Unstructured
	if w.appID() != "" {
		if wanted, err = w.service(); err != nil {
			s.log.Warn(err)
			return nil
		}
	}
	if err := s.deleteOthers(ctx, w, wanted); err != nil || wanted == nil {
		return err
	}
	return s.put(ctx, w, wanted)
}

// deleteOthers deletes the services that the workload owns, but for the one that is wanted.
func (s *services) deleteOthers(ctx context.Context, w *workload, wanted *unstructured.Unstructured) error {
	found, err := s.services.GetIndexer().ByIndex(cache.NamespaceIndex, w.Namespace)
	if err != nil {
		return err
	}
	for _, item := range found {
		service := item.(*unstructured.Unstructured)
		if !metav1.IsControlledBy(service, &w.ObjectMeta) || wanted != nil && wanted.GetName() == service.GetName() ||
			!strings.HasSuffix(service.GetName(), serviceSuffix) {
			continue
		}
		uid := service.GetUID()
		err := s.in(w).Delete(ctx, service.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s: %w", service.GetName(), err)
		}
		s.log.Infof("The service %s of namespace %s is deleted: %s no longer wants it", service.GetName(), w.Namespace, w)
		s.metrics.serviceDeleted.WithLabelValues(service.GetAnnotations()[appIDAnnotation]).Inc()
	}
	return nil
}

func (s *services) in(w *workload) dynamic.ResourceInterface {
	return s.api.Resource(servicesResource).Namespace(w.Namespace)
}

// put creates the service, or changes the one that is there.
func (s *services) put(ctx context.Context, w *workload, wanted *unstructured.Unstructured) error {
	name := wanted.GetName()
	item, exists, err := s.services.GetIndexer().GetByKey(w.Namespace + "/" + name)
	if err != nil {
		return err
	}
	if !exists {
		_, err := s.in(w).Create(ctx, wanted, metav1.CreateOptions{})
		switch {
		case apierrors.IsAlreadyExists(err):
			return fmt.Errorf("the service %s is there already and is not labelled %s=true: delete it, or give the application another id", name, enabledAnnotation)
		case err != nil:
			return fmt.Errorf("create %s: %w", name, err)
		}
		s.log.Infof("The service %s of namespace %s is created for %s", name, w.Namespace, w)
		s.metrics.serviceCreated.WithLabelValues(w.appID()).Inc()
		return nil
	}
	current := item.(*unstructured.Unstructured)
	if owner := metav1.GetControllerOf(current); owner != nil && owner.UID != w.UID && s.stands(current.GetNamespace(), owner) {
		return fmt.Errorf("the service %s is that of the %s %s: two workloads of a namespace have the same app id", name, owner.Kind, owner.Name)
	}
	patch, err := difference(current, wanted)
	if err != nil || patch == nil {
		return err
	}
	if _, err := s.in(w).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("change %s: %w", name, err)
	}
	s.log.Infof("The service %s of namespace %s is changed for %s", name, w.Namespace, w)
	s.metrics.serviceUpdated.WithLabelValues(w.appID()).Inc()
	return nil
}

// stands says whether an owner is there, and still wants a service.
func (s *services) stands(namespace string, owner *metav1.OwnerReference) bool {
	informer, known := s.workloads[owner.Kind]
	if !known {
		return true
	}
	item, exists, err := informer.GetIndexer().GetByKey(namespace + "/" + owner.Name)
	if err != nil || !exists {
		return err != nil
	}
	w := item.(*workload)
	return w.UID == owner.UID && w.appID() != ""
}

// keepService keeps what is compared.
func keepService(found any) (any, error) {
	object, ok := found.(*unstructured.Unstructured)
	if !ok {
		return found, nil
	}
	object.SetManagedFields(nil)
	delete(object.Object, "status")
	return object, nil
}

// difference is the merge patch that makes current what is wanted, nil for none. Labels and annotations of others stay.
func difference(current, wanted *unstructured.Unstructured) ([]byte, error) {
	metadata := map[string]any{}
	for field, pair := range map[string][2]map[string]string{
		"labels": {current.GetLabels(), wanted.GetLabels()}, "annotations": {current.GetAnnotations(), wanted.GetAnnotations()}} {
		if changes := missing(pair[0], pair[1]); len(changes) > 0 {
			metadata[field] = changes
		}
	}
	if owner := metav1.GetControllerOf(current); owner == nil || owner.UID != metav1.GetControllerOf(wanted).UID {
		metadata["ownerReferences"] = wanted.Object["metadata"].(map[string]any)["ownerReferences"]
	}
	patch, spec := map[string]any{}, map[string]any{}
	is, _, _ := unstructured.NestedMap(current.Object, "spec")
	should := wanted.Object["spec"].(map[string]any)
	if has, _, _ := unstructured.NestedStringMap(is, "selector"); !maps.Equal(has, stringsOf(should["selector"])) {
		spec["selector"] = replaced(has, should["selector"].(map[string]any))
	}
	if !slices.Equal(portsOf(is), portsOf(should)) {
		spec["ports"] = should["ports"]
	}
	if len(metadata) > 0 {
		patch["metadata"] = metadata
	}
	if len(spec) > 0 {
		patch["spec"] = spec
	}
	if len(patch) == 0 {
		return nil, nil
	}
	return json.Marshal(patch)
}

// missing are the entries of wanted that current has not.
func missing(current, wanted map[string]string) map[string]any {
	changes := map[string]any{}
	for name, value := range wanted {
		if has, found := current[name]; !found || has != value {
			changes[name] = value
		}
	}
	return changes
}

// replaced takes out, by null, what current has beside wanted.
func replaced(current map[string]string, wanted map[string]any) map[string]any {
	whole := maps.Clone(wanted)
	for name := range current {
		if _, found := wanted[name]; !found {
			whole[name] = nil
		}
	}
	return whole
}

func stringsOf(value any) map[string]string {
	texts := map[string]string{}
	for name, text := range value.(map[string]any) {
		texts[name], _ = text.(string)
	}
	return texts
}

// portsOf are the ports of a service's spec in a form that can be compared.
func portsOf(spec map[string]any) (ports []string) {
	for _, port := range objects(spec, "ports") {
		ports = append(ports, fmt.Sprint(port["name"], port["protocol"], port["port"], port["targetPort"]))
	}
	return ports
}
