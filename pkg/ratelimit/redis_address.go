package ratelimit

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// defaultRedisPort is the port that IANA has for Redis.
const defaultRedisPort = "6379"

var errNoScheme = errors.New("the URL of Redis has none of the schemes redis://, rediss:// and unix://")

// redisAddress is what the URL of a Redis says.
type redisAddress struct {
	// hosts are "host:port", or one path of a Unix socket.
	hosts              []string
	username, password string
	database           int
	tls, cluster       bool
}

// parseRedisURL reads a URL in the form of [RedisOptions.URL]. The error never
// holds a part of it: what looks like an address may be that of a password which
// was not encoded.
func parseRedisURL(raw string) (*redisAddress, error) {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return nil, errNoScheme
	}
	end := strings.IndexAny(rest+"/", "/?#")
	authority, path := rest[:end], rest[end:]
	at := strings.LastIndex(authority, "@") + 1
	// net/url knows one host only: the hosts are taken out.
	u, err := url.Parse(scheme + "://" + authority[:at] + "host" + path)
	if err != nil || u.Fragment != "" {
		return nil, errors.New("the URL of Redis can't be read: percent-encode what is not a letter or digit in its user and password")
	}
	a := &redisAddress{username: u.User.Username()}
	a.password, _ = u.User.Password()
	if err := a.readQuery(u.Query()); err != nil {
		return nil, err
	}
	hosts := authority[at:]
	switch u.Scheme {
	case "unix":
		return a, a.setSocket(hosts, u.Path)
	case "redis", "rediss":
		a.tls = u.Scheme == "rediss"
		return a, errors.Join(a.setDatabase(strings.TrimPrefix(u.Path, "/")), a.setHosts(hosts))
	}
	return nil, errNoScheme
}

// readQuery takes db and cluster, and nothing else.
func (a *redisAddress) readQuery(query url.Values) error {
	for name, values := range query {
		err := errors.New("unknown")
		switch name {
		case "db":
			err = a.setDatabase(values[0])
		case "cluster":
			a.cluster, err = strconv.ParseBool(values[0])
		}
		if err != nil {
			return errors.New("the URL of Redis has a parameter that is neither db=number nor cluster=true")
		}
	}
	return nil
}

// setDatabase reads the number of a database; "" is none.
func (a *redisAddress) setDatabase(text string) error {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return errors.New("the URL of Redis has a database that is no number (in a password, write / as %2F)")
	}
	a.database = int(n)
	return nil
}

// setSocket takes the path of a Unix socket.
func (a *redisAddress) setSocket(hosts, path string) error {
	if hosts != "" || path == "" || path == "/" {
		return errors.New("the URL of Redis names no socket: write unix:///path")
	}
	a.hosts = []string{path}
	return nil
}

// setHosts reads "host[:port],…". More than one is a cluster; all else is read.
func (a *redisAddress) setHosts(hosts string) error {
	for host := range strings.SplitSeq(hosts, ",") {
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), defaultRedisPort
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil || name == "" || strings.ContainsAny(name, "[] ") {
			return errors.New("the URL of Redis has an address that is not host:port (in a password, write / as %2F)")
		}
		a.hosts = append(a.hosts, net.JoinHostPort(name, port))
	}
	a.cluster = a.cluster || len(a.hosts) > 1
	if a.cluster && a.database != 0 {
		return errors.New("the URL of Redis names a database: a cluster has only number 0")
	}
	return nil
}
