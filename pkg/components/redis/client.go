package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-redis/redis/v8"
	"github.com/sirupsen/logrus"
)

// client is a connection to Redis, whatever its form.
type client struct {
	redis.UniversalClient
	// at are the addresses of the settings, for texts.
	at string
}

// dial connects and makes sure that the server answers. The error names the addresses.
func dial(ctx context.Context, c *connection, log logrus.FieldLogger) (*client, error) {
	options, err := c.options()
	if err != nil {
		return nil, err
	}
	libraryLog.Do(func() { redis.SetLogger(lines{log}) })
	opened := &client{open(c, options), strings.Join(options.Addrs, ",")}
	if err := opened.Ping(ctx).Err(); err != nil {
		_ = opened.Close()
		return nil, fmt.Errorf("error connecting to redis at %s: %w%s", opened.at, err, advice(err, c.TLS))
	}
	return opened, nil
}

func open(c *connection, options *redis.UniversalOptions) redis.UniversalClient {
	switch {
	case c.Failover:
		failover := options.Failover()
		failover.Dialer = options.Dialer
		return redis.NewFailoverClient(failover)
	case c.Type == "cluster":
		return newCluster(options.Cluster())
	default:
		return redis.NewClient(options.Simple())
	}
}

// dialer connects, with the handshake of TLS, within ctx and a time, 0 for the library's default. The library's own keeps
// to ctx without TLS alone.
func dialer(timeout time.Duration, secure *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	if timeout == 0 {
		timeout = 5 * time.Second // the library's default
	}
	plain := &net.Dialer{KeepAlive: 5 * time.Minute}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		conn, err := plain.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			// A command that is given up must not arrive later, when the network works again: what the system has not
			// delivered when the connection is closed is dropped.
			if err := tcp.SetLinger(0); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
		}
		if secure == nil {
			return conn, nil
		}
		return handshake(ctx, conn, address, secure)
	}
}

// handshake puts TLS around a connection, which is closed when that fails. Without a name in the settings the server is
// known by the host of its address.
func handshake(ctx context.Context, conn net.Conn, address string, secure *tls.Config) (net.Conn, error) {
	if secure.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		secure = secure.Clone()
		secure.ServerName = host
	}
	client := tls.Client(conn, secure)
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return client, nil
}

// failed names the addresses where the server did not answer. An answer stands for itself.
func (c *client) failed(err error) error {
	if err == nil || isAnswer(err) {
		return err
	}
	return fmt.Errorf("redis at %s: %w", c.at, err)
}

// alive asks whether the server answers.
func (c *client) alive(ctx context.Context) error { return c.failed(c.UniversalClient.Ping(ctx).Err()) }

// isAnswer tells an answer of the server from a failure to reach it.
func isAnswer(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

// advice is what to do about a refused connection.
func advice(err error, secure bool) string {
	var authority *tls.CertificateVerificationError
	text := err.Error()
	switch {
	case errors.As(err, &authority):
		return " (the server's certificate must be valid for its address and come from an authority that this system trusts)"
	case strings.HasPrefix(text, "NOAUTH"), strings.HasPrefix(text, "WRONGPASS"):
		return " (check redisUsername and redisPassword)"
	case secure && errors.Is(err, context.DeadlineExceeded):
		return " (if the server does not speak TLS, leave enableTLS out)"
	case strings.HasPrefix(text, "NOPERM"):
		return " (the ACL user must be allowed to run this command)"
	}
	return ""
}

// info reads one number of INFO's section, 0 where it is not there: what a server does not tell must not
// keep the component from starting.
func info(ctx context.Context, c *client, section, field string) int {
	text, err := c.Info(ctx, section).Result()
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			number, _ := strconv.Atoi(value)
			return number
		}
	}
	return 0
}

// has says whether the server knows a command: modules bring commands of their own.
func has(ctx context.Context, c *client, command string) bool {
	answer, err := c.Do(ctx, "COMMAND", "INFO", command).Slice()
	return err == nil && len(answer) == 1 && answer[0] != nil
}

// libraryLog guards the one logger that the library has for the whole process. Without it the library writes
// lines of its own form to standard error.
var libraryLog sync.Once

// lines hands the library's lines on: a Sentinel's news, connections that were thrown away.
type lines struct{ log logrus.FieldLogger }

// Printf is the library's interface.
func (l lines) Printf(_ context.Context, format string, arguments ...any) {
	l.log.Debugf(format, arguments...)
}
