// Package redis holds the components on Redis. They share one connection (client.go) and its metadata;
// every layout is the one that Dapr writes, so that both can work on the same data.
package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/components"
)

// connection is the metadata that all components on Redis share. Durations are whole milliseconds or Go
// durations; negative ones switch a thing off. Defaults are those of Dapr 1.18, where it has any, else the
// client library's.
type connection struct {
	Hosts            string        `metadata:"redisHost" default:"localhost:6379"`
	Port             uint16        `metadata:"redisPort"`
	Username         string        `metadata:"redisUsername"`
	Password         string        `metadata:"redisPassword,secret"`
	DB               int           `metadata:"redisDB"`
	Type             string        `metadata:"redisType" default:"node"`
	Failover         bool          `metadata:"failover"`
	SentinelMaster   string        `metadata:"sentinelMasterName"`
	SentinelUsername string        `metadata:"sentinelUsername"`
	SentinelPassword string        `metadata:"sentinelPassword,secret"`
	MaxRetries       int           `metadata:"redisMaxRetries" default:"3"`
	MinRetryInterval time.Duration `metadata:"redisMinRetryInterval,milliseconds"`
	MaxRetryInterval time.Duration `metadata:"redisMaxRetryInterval,milliseconds"`
	DialTimeout      time.Duration `metadata:"dialTimeout,milliseconds"`
	ReadTimeout      time.Duration `metadata:"readTimeout,milliseconds"`
	WriteTimeout     time.Duration `metadata:"writeTimeout,milliseconds"`
	PoolSize         int           `metadata:"poolSize"`
	MinIdle          int           `metadata:"minIdleConns"`
	PoolTimeout      time.Duration `metadata:"poolTimeout,milliseconds"`
	MaxAge           time.Duration `metadata:"maxConnAge,milliseconds"`
	IdleTimeout      time.Duration `metadata:"idleTimeout,milliseconds"`
	IdleCheck        time.Duration `metadata:"idleCheckFrequency,milliseconds"`
	TLS              bool          `metadata:"enableTLS"`
	SkipVerify       bool          `metadata:"insecureSkipTLSVerify"`
	ClientCert       string        `metadata:"clientCert"`
	ClientKey        string        `metadata:"clientKey,secret"`
	EntraID          bool          `metadata:"useEntraID" aliases:"useAzureAD"`
}

// legacy are names of earlier versions that some components take: maxRetryBackoff counts nanoseconds.
type legacy struct {
	LegacyRetries int   `metadata:"maxRetries"`
	LegacyBackoff int64 `metadata:"maxRetryBackoff"`
}

// adopt takes the retry settings of earlier versions where today's are not there.
func (l *legacy) adopt(c *connection, spec *components.Spec) {
	if l.LegacyRetries != 0 && !spec.Has("redisMaxRetries") {
		c.MaxRetries = l.LegacyRetries
	}
	if l.LegacyBackoff != 0 && !spec.Has("redisMinRetryInterval") {
		c.MinRetryInterval = time.Duration(l.LegacyBackoff)
	}
}

// addresses are the hosts with their ports.
func (c *connection) addresses() ([]string, error) {
	var all []string
	for host := range strings.SplitSeq(c.Hosts, ",") {
		if host = strings.TrimSpace(host); host == "" {
			continue
		}
		address, err := c.address(host)
		if err != nil {
			return nil, err
		}
		all = append(all, address)
	}
	if len(all) == 0 {
		return nil, errors.New("metadata property redisHost is empty: want host:port, or a list of these separated by commas")
	}
	return all, nil
}

func (c *connection) address(host string) (string, error) {
	if strings.ContainsAny(host, "@/") {
		return "", errors.New("metadata property redisHost: want host:port, not a URL (its value is not shown, for it may hold a password); " +
			"user and password have the properties redisUsername and redisPassword, and enableTLS is what rediss: stands for")
	}
	_, port, err := net.SplitHostPort(host)
	switch {
	case err == nil && c.Port != 0 && port != strconv.Itoa(int(c.Port)):
		return "", fmt.Errorf("metadata property redisPort: redis host %q already contains port %s, but redisPort is set to %d; leave one of the two out", host, port, c.Port)
	case err == nil:
		return host, nil
	case c.Port != 0:
		return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(int(c.Port))), nil
	default:
		return net.JoinHostPort(strings.Trim(host, "[]"), "6379"), nil
	}
}

// tls is nil without enableTLS. Without a pair of clientCert and clientKey no certificate is shown.
func (c *connection) tls() (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.SkipVerify} //nolint:gosec // the user asked for it by name
	if c.ClientCert == "" || c.ClientKey == "" {
		return config, nil
	}
	pair, err := tls.X509KeyPair([]byte(c.ClientCert), []byte(c.ClientKey))
	if err != nil {
		return nil, fmt.Errorf("metadata properties clientCert and clientKey: want a certificate and its key as PEM texts: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// options are the client's, for a single node, a cluster and a failover group behind Sentinels alike.
func (c *connection) options() (*redis.UniversalOptions, error) {
	addresses, err := c.addresses()
	if err != nil {
		return nil, err
	}
	secure, err := c.tls()
	if err != nil {
		return nil, err
	}
	if c.EntraID {
		return nil, errors.New("metadata property useEntraID is not supported by this daprd yet; use redisUsername and redisPassword")
	}
	if c.DB < 0 {
		return nil, fmt.Errorf("metadata property redisDB: %d is no number of a database: want 0 or more", c.DB)
	}
	if c.Failover && c.SentinelMaster == "" {
		return nil, errors.New("metadata property sentinelMasterName is missing: with failover, want the name under which the Sentinels know the master")
	}
	return &redis.UniversalOptions{
		Addrs: addresses, DB: c.DB, Username: c.Username, Password: c.Password,
		SentinelUsername: c.SentinelUsername, SentinelPassword: c.SentinelPassword, MasterName: c.SentinelMaster,
		MaxRetries: c.MaxRetries, MinRetryBackoff: c.MinRetryInterval, MaxRetryBackoff: c.MaxRetryInterval,
		DialTimeout: c.DialTimeout, ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout,
		PoolSize: c.PoolSize, MinIdleConns: c.MinIdle, PoolTimeout: c.PoolTimeout, MaxConnAge: c.MaxAge,
		IdleTimeout: c.IdleTimeout, IdleCheckFrequency: c.IdleCheck,
		TLSConfig: secure, Dialer: dialer(c.DialTimeout, secure),
	}, nil
}
