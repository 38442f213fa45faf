// Package view is how APIKeys look to people: tables, descriptions, colours.
package view

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
)

// Colour is how a word is set off.
type Colour string

// The colours, as terminals name them (ECMA-48, SGR).
const (
	Good  Colour = "\x1b[32m"
	Bad   Colour = "\x1b[31m"
	Look  Colour = "\x1b[33m"
	Plain Colour = ""
	reset        = "\x1b[0m"
)

// Paint colours words, or leaves them as they are.
type Paint struct{ on bool }

// NewPaint colours what goes to a terminal, unless NO_COLOR is set to anything or the
// terminal is dumb (https://no-color.org).
func NewPaint(out io.Writer) Paint {
	return Paint{on: IsTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// Word is a word in a colour.
func (p Paint) Word(c Colour, word string) string {
	if !p.on || c == Plain || word == "" {
		return word
	}
	return string(c) + word + reset
}

// IsTerminal reports whether a stream is a terminal.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Clean makes text of others fit for a terminal: of control characters, which could
// move the cursor or hide what follows, nothing is left.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r <= 0x9f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, text)
}

// State is how an APIKey is in one word: the reason of its Ready condition, Judging
// where the controller has not seen its newest form.
func State(key *v1alpha1.APIKey) (string, Colour) {
	ready := cluster.Ready(key)
	switch {
	case key.DeletionTimestamp != nil:
		return "Deleting", Look
	case ready == nil:
		return "Judging", Look
	case ready.Status == metav1.ConditionTrue:
		return ready.Reason, Good
	case ready.Reason == v1alpha1.ReasonSuspended || ready.Reason == v1alpha1.ReasonPending:
		return ready.Reason, Look
	}
	return ready.Reason, Bad
}

// scopes joins scopes; "<none>" where there are none.
func scopes[T ~string](list []T) string {
	if len(list) == 0 {
		return none
	}
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = string(s)
	}
	return strings.Join(words, ",")
}

// none stands for what is not there, as kubectl has it.
const none = "<none>"

// orNone is a word, or none.
func orNone[T ~string](word T) string {
	if word == "" {
		return none
	}
	return Clean(string(word))
}
