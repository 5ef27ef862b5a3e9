package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// greeterApp greets and counts its greetings in the state store of its sidecar. It knows no address but
// that of the sidecar.
func greeterApp(sidecarPort int, ordered chan<- string) http.Handler {
	state := fmt.Sprintf("http://127.0.0.1:%d/v1.0/state/statestore", sidecarPort)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /greet", func(w http.ResponseWriter, r *http.Request) {
		name, err := io.ReadAll(io.LimitReader(r.Body, 1000))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		count, err := countUp(state, string(name))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, "Hello %s, this is greeting number %d for you.", name, count)
	})
	// A message of the topic greetings: the sidecar delivers it again unless the answer is 2xx.
	mux.HandleFunc("POST /ordered", func(w http.ResponseWriter, r *http.Request) {
		var event struct{ Data string }
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		count, err := countUp(state, event.Data)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		select {
		case ordered <- fmt.Sprintf("Hello %s, this is greeting number %d for you.", event.Data, count):
		default: // nobody waits for it
		}
	})
	return mux
}

// countUp reads the counter of name, adds one and saves it.
func countUp(state, name string) (count int, err error) {
	response, err := http.Get(state + "/" + name)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		if err := json.NewDecoder(response.Body).Decode(&count); err != nil {
			return 0, err
		}
	}
	count++
	return count, post(state, []map[string]any{{"key": name, "value": count}})
}

// frontendApp passes a greeting on: it calls the greeter by its name, through its own sidecar.
func frontendApp(sidecarPort int) http.Handler {
	greet := fmt.Sprintf("http://127.0.0.1:%d/v1.0/invoke/greeter/method/greet", sidecarPort)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		text, err := call(greet, r.PathValue("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintln(w, text)
	})
	return mux
}
