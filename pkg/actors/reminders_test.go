package actors_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/actors/due"
	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/actors/reminders"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/memory"
	"github.com/daprd/daprd/pkg/state"
)

// TestDeletedElsewhere: a reminder that is deleted or replaced through another sidecar while its firing waits for its turn
// does not fire; one that is still there does.
func TestDeletedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept, err := memory.NewState(t.Context(), componentstest.Spec("state.in-memory", nil))
		if err != nil {
			t.Fatal(err)
		}
		m := beginOn(t, kept, channel.ActorSettings{}, func(context.Context, string, string, channel.Header) error {
			time.Sleep(10 * time.Second)
			return nil
		})
		log := logrus.New()
		log.SetOutput(io.Discard)
		same := state.NewService(state.Deps{AppID: "other"})
		if err := same.Add("st", kept, state.Settings{ActorStateStore: true}); err != nil {
			t.Fatal(err)
		}
		queue := due.New()
		other := reminders.New(reminders.Deps{Namespace: "default", Storage: same, Queue: queue, Log: log,
			Owned: func(string) []placement.Range { return nil },
			Fire: func(context.Context, *reminders.Reminder, func() bool) (reminders.Outcome, error) {
				return reminders.Fired, nil
			}})
		for _, id := range []string{"deleted", "replaced", "kept"} {
			if err := m.CreateReminder(t.Context(), &reminders.Reminder{ActorType: "T", ActorID: id, Name: "r", DueTime: "5s"}, true); err != nil {
				t.Fatal(err)
			}
			go func() { _ = m.invoke(context.Background(), id, "slow") }()
		}
		time.Sleep(7 * time.Second)
		if err := other.Delete(t.Context(), "T", "deleted", "r"); err != nil {
			t.Error(err)
		}
		if err := other.Create(t.Context(), &reminders.Reminder{ActorType: "T", ActorID: "replaced", Name: "r", DueTime: "1h"}, true); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		var fired []string
		for _, line := range m.host.seen() {
			if line == "deleted fires r" || line == "replaced fires r" || line == "kept fires r" {
				fired = append(fired, line)
			}
		}
		if diff := cmp.Diff([]string{"kept fires r"}, fired); diff != "" {
			t.Error(diff)
		}
		if n := m.fired.Load(); n != 1 {
			t.Errorf("%d firings are counted", n)
		}
		if _, err := m.GetReminder(t.Context(), "T", "deleted", "r"); code(err) != "ERR_ACTOR_REMINDER_NOT_FOUND" {
			t.Errorf("the deleted one: %v", err)
		}
		if err := queue.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
}
