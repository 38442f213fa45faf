// Package hashlist reads files of keys that were made elsewhere, each by its SHA-256.
// Somebody will one day hand it a file with the keys themselves: nothing of what a file
// says is ever repeated in an error, only the number of its line.
package hashlist

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// Row is one key of a file.
type Row struct {
	// Line of the file, from 1.
	Line int
	// Name of the APIKey.
	Name string
	// SHA256 of the key's text, 64 lower-case hex digits.
	SHA256 string
	// Scopes, Plan, Environment, DisplayName and ExpiresAt where the file has them.
	Scopes                         []string
	Plan, Environment, DisplayName string
	ExpiresAt                      *time.Time
}

// Options say how a file is read.
type Options struct {
	// NamePrefix begins the names of keys in a plain file of hashes; "": the file must
	// name them.
	NamePrefix string
	// Now is the clock that an expiresAt is held against.
	Now time.Time
}

// maxLine is the longest line, in bytes: no row that the API takes is as long.
const maxLine = 64 << 10

// Problem is what is wrong with one line. It repeats nothing of it.
type Problem struct {
	Line int
	What string
}

// Error implements error.
func (p *Problem) Error() string { return fmt.Sprintf("line %d: %s", p.Line, p.What) }

// problem makes a Problem.
func problem(line int, format string, args ...any) error {
	return &Problem{Line: line, What: fmt.Sprintf(format, args...)}
}

// What is wrong with a line, in words that several kinds of files share.
const (
	notHash = "the hash is not 64 hex digits (the SHA-256 of the key). If this is the key itself: it is " +
		"shown here to nobody, but it is in your file; hash it with `printf %s \"$KEY\" | sha256sum`"
	notName = "the name is not possible: 1 to 253 of a-z, 0-9, - and ., with a letter or digit at both ends"
	plain   = "a column holds the key itself, not only its hash: take it out of the file"
)

// Read reads a file: CSV with a header line that has the columns name and sha256, and
// perhaps scopes, plan, environment, expiresAt and displayName; or one hash a line, as
// sha256sum writes them. The error joins a [Problem] for each line that can't be used;
// the rows are those that can.
func Read(r io.Reader, o Options) ([]Row, error) {
	in := bufio.NewReaderSize(r, maxLine)
	if mark, err := in.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = in.Discard(3) // just peeked
	}
	first, err := in.Peek(maxLine)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	line, _, _ := bytes.Cut(first, []byte("\n"))
	var rows []Row
	if isHeader(string(line)) {
		rows, err = readTable(in, o)
	} else {
		rows, err = readPlain(in, o)
	}
	return unique(rows, err)
}

// isHeader reports whether a line is a table's header.
func isHeader(line string) bool {
	for column := range strings.SplitSeq(line, ",") {
		if strings.EqualFold(strings.Trim(strings.TrimSpace(column), `"`), columnHash) {
			return true
		}
	}
	return false
}

// readPlain reads one hash a line: alone, or with a file's name behind it as sha256sum
// writes it. Empty lines and those that begin with # are passed over.
func readPlain(in io.Reader, o Options) ([]Row, error) {
	if o.NamePrefix == "" {
		return nil, errors.New("a plain file of hashes names no keys: give --name-prefix, or a CSV file whose first line is name,sha256")
	}
	var rows []Row
	var problems []error
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		hash, rest, _ := strings.Cut(text, " ")
		row := Row{Line: n, SHA256: strings.ToLower(hash)}
		row.Name = o.NamePrefix + row.SHA256[:min(len(row.SHA256), nameDigits)]
		if err := row.check(strings.TrimLeft(rest, " *")); err != nil {
			problems = append(problems, err)
			continue
		}
		rows = append(rows, row)
	}
	return rows, errors.Join(append(problems, lines.Err())...)
}

// nameDigits is how many digits of a hash tell apart the names of a plain file's keys.
// They depend on nothing but the hash, so that an import can be taken up again.
const nameDigits = 12

var (
	hashShape = regexp.MustCompile(`^[0-9a-f]{64}$`)
	nameShape = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// check returns a Problem where a row can't be used; rest is what else its line says.
func (r *Row) check(rest ...string) error {
	if !hashShape.MatchString(r.SHA256) {
		return problem(r.Line, "%s", notHash)
	}
	for _, text := range append(rest, r.Name, r.DisplayName) {
		if sum := sha256.Sum256([]byte(text)); hex.EncodeToString(sum[:]) == r.SHA256 {
			return problem(r.Line, "%s", plain)
		}
	}
	if len(r.Name) > 253 || !nameShape.MatchString(r.Name) {
		return problem(r.Line, "%s", notName)
	}
	return nil
}

// unique adds to err the rows whose name or hash an earlier one has.
func unique(rows []Row, err error) ([]Row, error) {
	names, hashes := map[string]int{}, map[string]int{}
	var kept []Row
	for _, row := range rows {
		name, hash := names[row.Name], hashes[row.SHA256]
		switch {
		case hash != 0:
			err = errors.Join(err, problem(row.Line, "line %d has the same hash: one key is one APIKey", hash))
			continue
		case name != 0:
			err = errors.Join(err, problem(row.Line, "line %d has the same name, for another key", name))
			continue
		}
		names[row.Name], hashes[row.SHA256] = row.Line, row.Line
		kept = append(kept, row)
	}
	return kept, err
}
