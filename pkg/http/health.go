package http

import (
	"github.com/daprd/daprd/pkg/apierr"
)

func (s *Server) getHealth(c *call) { c.done(s.blocks.Health.Check(c.argument("appid"))) }

func (s *Server) getOutboundHealth(c *call) { c.done(s.blocks.Health.CheckOutbound()) }

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
