package http

import (
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/messaging"
)

// log writes the line of the API log, in the form of Dapr 1.18.
func (c *call) log(status int, sent int64, elapsed time.Duration) {
	if c.server.config.OmitHealthChecks && c.route != nil && c.route.health {
		return
	}
	c.server.apiLog.WithFields(logrus.Fields{
		"method":    c.endpoint(),
		"useragent": string(c.ctx.UserAgent()),
		"duration":  elapsed.Milliseconds(),
		"code":      status,
		"size":      sent,
	}).Info("HTTP API Called")
}

// endpoint names the call: verb and path, or what the endpoint is called when URLs are not to be shown.
func (c *call) endpoint() string {
	if !c.server.config.ObfuscateURLs {
		return c.verb + " " + c.shownPath()
	}
	if c.route == nil {
		return "Unknown"
	}
	if c.route.group == "invoke" {
		if id, _, _ := c.target(); id != "" {
			return c.route.name + "/" + messaging.WithoutUser(strings.Clone(id))
		}
	}
	return c.route.name
}

// shownPath is the path for logs, decoded. The URL of a target may hold a password, which stays out.
func (c *call) shownPath() string {
	decoded := decodePath(c.path)
	rest, ok := strings.CutPrefix(decoded, invokePrefix)
	if !ok || !isURL(rest) {
		return decoded
	}
	target, method, _ := strings.Cut(rest, "/method/")
	return invokePrefix + messaging.WithoutUser(target) + "/method/" + method
}
