package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
)

// run tries the installation.
func run(ctx context.Context, o options) (err error) {
	cluster, err := newCluster(o)
	if err != nil {
		return err
	}
	conn, err := dial(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	testing, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := cluster.remove(testing); err != nil { // of a test that was killed
		return err
	}
	defer func() {
		removing, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.timeout)
		defer cancel()
		err = errors.Join(err, cluster.remove(removing))
	}()
	return try(testing, o, cluster, conn)
}

// try makes a key, uses it and revokes it.
func try(ctx context.Context, o options, c *cluster, conn *grpc.ClientConn) error {
	if err := c.create(ctx); err != nil {
		return err
	}
	token, err := c.token(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(o.output, "a key was made and delivered")
	answers := func(what, token string, want int) error {
		return awaitAnswer(ctx, o, conn, what, token, want)
	}
	if err := errors.Join(answers("with the key", token, 200), answers("without a key", "", 401)); err != nil {
		return err
	}
	if err := c.revoke(ctx); err != nil {
		return err
	}
	return answers("with the key, revoked", token, 401)
}

// awaitAnswer asks until the answer is the right one: extauthz follows the API
// server's watch. What is still open when the time is up counts for nothing.
func awaitAnswer(ctx context.Context, o options, conn *grpc.ClientConn, what, token string, want int) error {
	var status int
	err := until(ctx, func() (bool, error) {
		got, err := ask(ctx, conn, o.namespace+"/"+name, token)
		if err == nil {
			status = got
		}
		return got == want, err
	})
	if err != nil {
		return fmt.Errorf("%s: got status %d, want %d: %w", what, status, want, err)
	}
	fmt.Fprintf(o.output, "%s: %d\n", what, status)
	return nil
}
