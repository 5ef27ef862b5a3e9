package http

import (
	"strings"

	"github.com/daprd/daprd/pkg/apierr"
)

// absentHeader names, in the answers of the health endpoints, the components whose servers are away.
const absentHeader = "Dapr-Unavailable-Components"

func (s *Server) getHealth(c *call) {
	s.tellAbsent(c)
	c.done(s.blocks.Health.Check(c.argument("appid")))
}

func (s *Server) getOutboundHealth(c *call) {
	s.tellAbsent(c)
	c.done(s.blocks.Health.CheckOutbound())
}

func (s *Server) tellAbsent(c *call) {
	if absent := s.blocks.Health.Absent(); len(absent) > 0 {
		c.ctx.Response.Header.Set(absentHeader, strings.Join(absent, ","))
	}
}

// shutdown asks the sidecar to end, after this answer.
func (s *Server) shutdown(c *call) {
	s.blocks.Shutdown(isTrue(borrowed(c.ctx.Request.Header.Peek("Dapr-Force-Shutdown"))))
	c.noContent()
}

func isTrue(text string) bool { return text == "true" }

// notYet answers for an API that does not exist in this sidecar.
func notYet(api string) func(*call) {
	return func(c *call) { c.fail(apierr.Unimplemented.New(api)) }
}
