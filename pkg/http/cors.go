package http

import (
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// origins answers browsers that ask which pages may call the API.
type origins struct {
	all  bool
	list []string
}

// newOrigins reads --allowed-origins; nil for "", which switches CORS off.
func newOrigins(flag string) *origins {
	if strings.TrimSpace(flag) == "" {
		return nil
	}
	o := &origins{}
	for _, origin := range strings.Split(flag, ",") {
		switch origin = strings.TrimSpace(origin); origin {
		case "":
		case "*":
			o.all = true
		default:
			o.list = append(o.list, strings.ToLower(origin))
		}
	}
	return o
}

func (o *origins) allows(origin string) bool {
	return o.all || slices.Contains(o.list, strings.ToLower(origin))
}

// answer adds the headers of CORS. It says true when the call was a preflight and is answered.
func (o *origins) answer(ctx *fasthttp.RequestCtx) bool {
	request, answer := &ctx.Request.Header, &ctx.Response.Header
	origin := string(request.Peek("Origin"))
	wanted := string(request.Peek("Access-Control-Request-Method"))
	preflight := string(ctx.Method()) == fasthttp.MethodOptions && wanted != ""
	answer.Add("Vary", "Origin")
	if preflight {
		answer.Add("Vary", "Access-Control-Request-Method")
		answer.Add("Vary", "Access-Control-Request-Headers")
		ctx.SetStatusCode(fasthttp.StatusOK)
	}
	if origin == "" || !o.allows(origin) || preflight && !o.takes(wanted) {
		return preflight
	}
	if o.all {
		answer.Set("Access-Control-Allow-Origin", "*")
	} else {
		answer.Set("Access-Control-Allow-Origin", origin)
	}
	if preflight {
		answer.Set("Access-Control-Allow-Methods", strings.ToUpper(wanted))
		if headers := request.Peek("Access-Control-Request-Headers"); len(headers) > 0 {
			answer.SetBytesV("Access-Control-Allow-Headers", headers)
		}
	}
	return preflight
}

func (o *origins) takes(verb string) bool {
	switch strings.ToUpper(verb) {
	case "HEAD", "GET", "POST", "PUT", "PATCH", "DELETE":
		return true
	}
	return o.all
}
