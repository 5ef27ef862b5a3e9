package http

import (
	"encoding/json"
	"testing"

	"github.com/daprd/daprd/pkg/actors/reminders"
)

// TestCallbackData: data that are null are none, in what is kept and in what is read.
func TestCallbackData(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:                      `{"actorID":"1","actorType":"T"}`,
		`{"data": null }`:         `{"actorID":"1","actorType":"T"}`,
		`{"data": "null"}`:        `{"actorID":"1","actorType":"T","data":"null"}`,
		`{"data": {"a": "<b>" }}`: `{"actorID":"1","actorType":"T","data":{"a": "<b>" }}`,
		`{"data": 0}`:             `{"actorID":"1","actorType":"T","data":0}`,
	} {
		var b reminderBody
		if err := json.Unmarshal([]byte(body), &b); err != nil {
			t.Fatal(err)
		}
		if got := string(appendReminder(nil, &reminders.Reminder{ActorType: "T", ActorID: "1", Data: b.data()})); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}
