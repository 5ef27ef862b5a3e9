package main

import (
	"os"
	"strconv"

	"github.com/daprd/daprd/pkg/runtime"
)

// export sets the variables that components may read of the sidecar they are in.
func export(cfg runtime.Config) error {
	for name, value := range map[string]string{
		"APP_ID":            cfg.AppID,
		"APP_PORT":          strconv.Itoa(cfg.AppPort),
		"HOST_ADDRESS":      cfg.HostAddress,
		"DAPR_PORT":         strconv.Itoa(cfg.InternalGRPCPort),
		"DAPR_GRPC_PORT":    strconv.Itoa(cfg.GRPCPort),
		"DAPR_HTTP_PORT":    strconv.Itoa(cfg.HTTPPort),
		"DAPR_METRICS_PORT": strconv.Itoa(cfg.MetricsPort),
		"DAPR_PROFILE_PORT": strconv.Itoa(cfg.ProfilePort),
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}
