package runtime

import (
	"context"
	"net"
	"strconv"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
)

func (r *Runtime) awaitApp(ctx context.Context) (ending, error) {
	if r.cfg.AppPort == 0 {
		return ending{}, nil
	}
	r.log.Infof("application protocol: %s. waiting on port %d.  This will block until the app is listening on that port.",
		r.cfg.AppProtocol, r.cfg.AppPort)
	if err := channel.Await(ctx, r.appAddress()); err != nil {
		return ending{}, err
	}
	r.log.Infof("application discovered on port %d", r.cfg.AppPort)
	return ending{}, nil
}

func (r *Runtime) appAddress() string {
	return net.JoinHostPort(r.cfg.AppChannelAddress, strconv.Itoa(r.cfg.AppPort))
}

const contentTypeNotice = "[DEPRECATION NOTICE] Adding a default content type to incoming service invocation requests is deprecated and will be " +
	"removed in the future. See https://docs.dapr.io/operations/support/support-preview-features/ for more details. You can opt into the new " +
	"behavior today by setting the configuration option `ServiceInvocation.NoDefaultContentType` to true."

func (r *Runtime) openChannel(ctx context.Context) (ending, error) {
	if r.cfg.AppPort == 0 {
		r.log.Warn("app channel is not initialized. did you make sure to configure an app-port?")
		return ending{}, nil
	}
	settings := channel.Settings{Protocol: string(r.cfg.AppProtocol), Address: r.appAddress(), AppID: r.cfg.AppID, Token: r.cfg.AppToken,
		MaxConcurrency: r.cfg.AppMaxConcurrency, Pipeline: r.middleware.App, MaxBodySize: r.cfg.MaxBodySize, Observer: r.metrics}
	if !r.cfg.AppProtocol.IsGRPC() && !r.configuration.FeatureEnabled(config.NoDefaultContentType) {
		settings.DefaultContentType = "application/json"
		r.log.Warn(contentTypeNotice)
	}
	app, err := channel.Open(settings)
	if err != nil {
		return ending{}, err
	}
	r.app.Fill(r.checked(app))
	end := ending{close: func(context.Context) error {
		r.app.Empty()
		return app.Close()
	}}
	if r.cfg.SkipAppConfiguration {
		r.log.Warn("Skipping programmatic dapr configuration loading (see 'disable-init-endpoints' flag/annotation)")
		return end, nil
	}
	if configuration, err := app.Configuration(ctx); err != nil {
		r.log.Debugf("the application's configuration could not be read: %s", err)
	} else {
		r.appConfiguration = configuration
		r.log.Info("application configuration loaded")
	}
	return end, nil
}
