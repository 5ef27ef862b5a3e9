package placement

import (
	"encoding/json"
	"net/http"
)

// statePage shows the tables in force, in the form of Dapr 1.18: GET /placement/state.
type statePage struct{ service *Service }

type (
	stateTables struct {
		Tables map[string]stateTable `json:"tables"`
	}
	stateTable struct {
		Hosts   []stateHost `json:"hosts,omitempty"`
		Version uint64      `json:"version,omitempty"`
	}
	stateHost struct {
		Name      string   `json:"name,omitempty"`
		Port      int64    `json:"port,omitempty"`
		Entities  []string `json:"entities,omitempty"`
		ID        string   `json:"id,omitempty"`
		APILevel  uint32   `json:"api_level,omitempty"`
		Namespace string   `json:"namespace,omitempty"`
		Operation int32    `json:"operation,omitempty"`
	}
)

func (p statePage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	shown := stateTables{map[string]stateTable{}}
	for name, table := range p.service.Tables() {
		t := stateTable{Version: table.Version}
		for _, h := range table.Hosts {
			t.Hosts = append(t.Hosts, stateHost{h.GetName(), h.GetPort(), h.GetEntities(), h.GetId(), h.GetApiLevel(), h.GetNamespace(), int32(h.GetOperation())})
		}
		shown.Tables[name] = t
	}
	text, err := json.Marshal(shown)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}
