package ready_test

import (
	"testing"

	"github.com/daprd/daprd/pkg/ready"
)

func TestSlot(t *testing.T) {
	var slot ready.Slot[string]
	if v, ok := slot.Load(); ok || v != "" {
		t.Fatalf("a new slot holds %q, %t", v, ok)
	}
	slot.Fill("first")
	slot.Fill("second")
	if v, ok := slot.Load(); !ok || v != "second" {
		t.Fatalf("a filled slot holds %q, %t", v, ok)
	}
	slot.Empty()
	if _, ok := slot.Load(); ok {
		t.Fatal("an emptied slot still holds a value")
	}
}
