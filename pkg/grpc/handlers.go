package grpc

import (
	"github.com/sirupsen/logrus"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/daprd/daprd/pkg/api"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// handlers is the Dapr service. Methods without a handler here are answered by the gate, from the table of
// groups.
type handlers struct {
	runtimev1.UnimplementedDaprServer
	blocks api.Blocks
	// limit is the most bytes of an answer's data.
	limit int64
	log   logrus.FieldLogger
}

func newHandlers(config Config, blocks api.Blocks, log logrus.FieldLogger) *handlers {
	return &handlers{blocks: blocks, limit: int64(messageLimit(config.MaxBodySize)), log: log}
}

// done answers a call that has nothing to say but whether it worked.
func done(err error) (*emptypb.Empty, error) {
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
