package http

import (
	"encoding/json"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/lock"
)

// lockRoutes are the routes of locks.
func (s *Server) lockRoutes() []route {
	post, alpha := []string{"POST"}, []string{alpha1}
	return []route{
		{methods: post, versions: alpha, path: "lock/{name}", group: "lock", name: "TryLock", handle: s.tryLock},
		{methods: post, versions: alpha, path: "unlock/{name}", group: "unlock", name: "Unlock", handle: s.unlock},
	}
}

// lockRequest is the body of both calls, in protobuf's JSON: a number may be a string.
type lockRequest struct {
	ResourceID string      `json:"resourceId"`
	LockOwner  string      `json:"lockOwner"`
	Expiry     json.Number `json:"expiryInSeconds"`
}

func (s *Server) tryLock(c *call) {
	var request lockRequest
	if !c.decode(&request) {
		return
	}
	seconds, _ := strconv.ParseInt(request.Expiry.String(), 10, 32) // what is no whole number is not positive
	taken, err := s.blocks.Lock.TryLock(c.Context(), c.parameter("name"), request.ResourceID, request.LockOwner, int(seconds))
	if err != nil {
		c.fail(err)
		return
	}
	c.json(fasthttp.StatusOK, append(strconv.AppendBool([]byte(`{"success":`), taken), '}'))
}

func (s *Server) unlock(c *call) {
	var request lockRequest
	if !c.decode(&request) {
		return
	}
	var status lock.Status
	status, err := s.blocks.Lock.Unlock(c.Context(), c.parameter("name"), request.ResourceID, request.LockOwner)
	if err != nil {
		c.fail(err)
		return
	}
	c.json(fasthttp.StatusOK, append(strconv.AppendInt([]byte(`{"status":`), int64(status), 10), '}'))
}
