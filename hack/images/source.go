package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// source says what a tree is.
type source struct {
	// version is `git describe` of it.
	version string
	// revision is its commit.
	revision string
	// made is the commit's time: the image's too, since the time of a build would make
	// every build another one.
	made time.Time
}

// describe reads a tree's version from git, or, where there is no git, from
// $VERSION, $REVISION and $SOURCE_DATE_EPOCH.
func describe(ctx context.Context, tree string) (source, error) {
	var s source
	var err error
	if s.version, err = fromEnvironment(ctx, tree, "VERSION", "describe", "--tags", "--always", "--dirty", "--match=v*"); err != nil {
		return s, err
	}
	if s.revision, err = fromEnvironment(ctx, tree, "REVISION", "rev-parse", "HEAD"); err != nil {
		return s, err
	}
	epoch, err := fromEnvironment(ctx, tree, "SOURCE_DATE_EPOCH", "log", "-1", "--format=%ct")
	if err != nil {
		return s, err
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return s, fmt.Errorf("read the time of the commit: %w", err)
	}
	s.made = time.Unix(seconds, 0).UTC()
	return s, nil
}

// fromEnvironment returns a variable, or what git says where it is not set.
func fromEnvironment(ctx context.Context, tree, variable string, git ...string) (string, error) {
	if value := os.Getenv(variable); value != "" {
		return value, nil
	}
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", tree}, git...)...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s (or set %s): %w", git[0], variable, err)
	}
	return strings.TrimSpace(string(out)), nil
}
