package ready_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/daprd/daprd/pkg/ready"
)

func TestUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var uses ready.Uses
		for range 2 {
			if !uses.Enter() {
				t.Fatal("new uses are refused before the end")
			}
		}
		drained := make(chan error, 1)
		go func() { drained <- uses.Drain(t.Context()) }()
		synctest.Wait()
		if uses.Enter() {
			t.Error("a new use begins after the end")
		}
		uses.Leave()
		synctest.Wait()
		select {
		case <-drained:
			t.Fatal("it is drained while a use is on")
		default:
		}
		uses.Leave()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if err := uses.Drain(t.Context()); err != nil {
			t.Errorf("a second time: %v", err)
		}
	})
}

func TestUsesBounded(t *testing.T) {
	var uses ready.Uses
	uses.Enter()
	late := errors.New("late")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(late)
	if err := uses.Drain(ctx); !errors.Is(err, late) {
		t.Errorf("error %v", err)
	}
}
