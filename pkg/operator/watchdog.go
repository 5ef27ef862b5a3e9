package operator

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/daprd/daprd/pkg/config"
)

const (
	// sidecarName is that of the sidecar's container.
	sidecarName = "daprd"
	// injectorSelector chooses the injector's pods.
	injectorSelector = "app=dapr-sidecar-injector"
)

// watchdog deletes pods that are annotated but have no sidecar, since the injector was away when they were made: their
// owner makes them anew.
type watchdog struct {
	pods      *pods
	namespace string // that is watched, "" for all
	own       string // the control plane's namespace
	interval  WatchInterval
	// most is how many pods are deleted in a minute.
	most    int
	patch   bool
	log     logrus.FieldLogger
	metrics *metrics
}

// run looks at the interval until ctx ends.
func (w *watchdog) run(ctx context.Context) {
	pace := time.NewTicker(time.Minute / time.Duration(w.most))
	defer pace.Stop()
	for {
		if err := w.look(ctx, pace.C); err != nil && ctx.Err() == nil {
			w.log.Warnf("The watchdog cannot look after the pods: %s", err)
		}
		if w.interval == Once {
			return
		}
		timer := time.NewTimer(time.Duration(w.interval))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// look goes over all pods once. Without an injector that runs, new pods would be no better.
func (w *watchdog) look(ctx context.Context, pace <-chan time.Time) error {
	running, err := w.injectorRuns(ctx)
	if err != nil || !running {
		return err
	}
	var missed []*unstructured.Unstructured
	err = w.pods.each(ctx, w.namespace, "!"+injectedLabel+",!"+patchedLabel, func(pod *unstructured.Unstructured) bool {
		if config.Truthy(pod.GetAnnotations()[enabledAnnotation]) && pod.GetDeletionTimestamp() == nil {
			missed = append(missed, pod)
		}
		return true
	})
	for _, pod := range missed {
		if err != nil {
			break
		}
		if hasSidecar(pod) {
			err = w.mark(ctx, pod)
		} else {
			err = w.restart(ctx, pod, pace)
		}
	}
	return err
}

func (w *watchdog) injectorRuns(ctx context.Context) (running bool, err error) {
	err = w.pods.each(ctx, w.own, injectorSelector, func(pod *unstructured.Unstructured) bool {
		phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
		running = phase == "Running"
		return !running
	})
	return running, err
}

func hasSidecar(pod *unstructured.Unstructured) bool {
	for _, list := range []string{"containers", "initContainers"} {
		for _, container := range objects(pod.Object, "spec", list) {
			if container["name"] == sidecarName {
				return true
			}
		}
	}
	return false
}

// mark labels a pod that is well, so that it is not looked at again.
func (w *watchdog) mark(ctx context.Context, pod *unstructured.Unstructured) error {
	if !w.patch {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]string{patchedLabel: "true"}}})
	if err != nil {
		return err
	}
	_, err = w.pods.api.Resource(podsResource).Namespace(pod.GetNamespace()).Patch(ctx, pod.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (w *watchdog) restart(ctx context.Context, pod *unstructured.Unstructured, pace <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-pace:
	}
	uid := pod.GetUID()
	err := w.pods.api.Resource(podsResource).Namespace(pod.GetNamespace()).Delete(ctx, pod.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err == nil {
		w.log.Warnf("The pod %s of namespace %s is deleted: it is annotated %s and has no sidecar", pod.GetName(), pod.GetNamespace(), enabledAnnotation)
		w.metrics.restarted.Inc()
	}
	return err
}
