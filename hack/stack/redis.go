package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// redisURL is what extauthz is told of the stack's Redis.
func (s *stack) redisURL() string { return "redis://" + s.address("redis") }

// redis is the Redis in which the replicas of extauthz count, if there is one. It
// keeps nothing on disk.
func (s *stack) redis() []component {
	if !s.WithRedis {
		return nil
	}
	ping := func(ctx context.Context) error { return pingRedis(ctx, s.address("redis")) }
	return []component{{name: "redis", program: s.Redis, alive: ping, ready: ping, args: []string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(s.Ports["redis"]), "--save", "", "--appendonly", "no", "--dir", s.dir,
		"--set-proc-title", "no", // a title would be written over the environment, and with it the mark
	}}}
}

// pingRedis wants a PONG.
func pingRedis(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(probeLimit)); err != nil {
		return err
	}
	if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && answer != "+PONG\r\n" {
		err = fmt.Errorf("redis answers %q", answer)
	}
	return err
}
