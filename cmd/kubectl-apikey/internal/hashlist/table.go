package hashlist

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The columns of a table, in the spelling of the documentation; any case is taken.
const (
	columnName        = "name"
	columnHash        = "sha256"
	columnScopes      = "scopes"
	columnPlan        = "plan"
	columnEnvironment = "environment"
	columnExpires     = "expiresAt"
	columnDisplay     = "displayName"
)

var columns = []string{columnName, columnHash, columnScopes, columnPlan, columnEnvironment, columnExpires, columnDisplay}

// readTable reads CSV (RFC 4180) with a header.
func readTable(in io.Reader, o Options) ([]Row, error) {
	table := csv.NewReader(in)
	table.TrimLeadingSpace = true
	header, err := table.Read()
	if err != nil {
		return nil, problem(1, "the header can't be read as CSV")
	}
	places, err := readHeader(header)
	if err != nil {
		return nil, err
	}
	var rows []Row
	var problems []error
	for {
		cells, err := table.Read()
		if errors.Is(err, io.EOF) {
			return rows, errors.Join(problems...)
		}
		var bad *csv.ParseError
		switch {
		case errors.As(err, &bad) && errors.Is(err, csv.ErrFieldCount):
			problems = append(problems, problem(bad.Line, "it has not as many columns as the header"))
			continue
		case errors.As(err, &bad): // where quotes are wrong, what follows means nothing
			return rows, errors.Join(append(problems, problem(bad.Line, "it can't be read as CSV, nor what follows: look for a quote"))...)
		case err != nil:
			return rows, errors.Join(append(problems, err)...)
		}
		line, _ := table.FieldPos(0)
		row, err := readRow(line, cells, places, o)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		rows = append(rows, row)
	}
}

// readHeader maps column → place.
func readHeader(header []string) (map[string]int, error) {
	places := map[string]int{}
	for i, cell := range header {
		at := slices.IndexFunc(columns, func(name string) bool { return strings.EqualFold(name, strings.TrimSpace(cell)) })
		if at < 0 {
			return nil, problem(1, "column %d is none of %s", i+1, strings.Join(columns, ", "))
		}
		if _, twice := places[columns[at]]; twice {
			return nil, problem(1, "there are two columns %s", columns[at])
		}
		places[columns[at]] = i
	}
	if _, named := places[columnName]; !named {
		return nil, problem(1, "there is no column %s", columnName)
	}
	return places, nil
}

// readRow reads one line of a table.
func readRow(line int, cells []string, places map[string]int, o Options) (Row, error) {
	cell := func(column string) string {
		if i, ok := places[column]; ok {
			return strings.TrimSpace(cells[i])
		}
		return ""
	}
	row := Row{
		Line: line, Name: cell(columnName), SHA256: strings.ToLower(cell(columnHash)),
		Plan: cell(columnPlan), Environment: cell(columnEnvironment), DisplayName: cell(columnDisplay),
		Scopes: strings.FieldsFunc(cell(columnScopes), func(c rune) bool { return c == ' ' || c == ',' }),
	}
	if err := row.check(cells...); err != nil {
		return Row{}, err
	}
	if text := cell(columnExpires); text != "" {
		end, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return Row{}, problem(line, `expiresAt is not a time such as "2027-01-01T00:00:00Z"`)
		}
		if !end.After(o.Now) {
			return Row{}, problem(line, "expiresAt is over: the key would never work")
		}
		end = end.UTC().Truncate(time.Second)
		row.ExpiresAt = &end
	}
	return row, nil
}

// Say lists what is wrong with a file, ten lines of it at the most.
func Say(err error) error {
	const most = 10
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	all := flatten(joined)
	if len(all) <= most {
		return errors.Join(all...)
	}
	return errors.Join(append(all[:most:most], fmt.Errorf("… and %d more", len(all)-most))...)
}

// flatten is all errors that a joined one holds.
func flatten(joined interface{ Unwrap() []error }) []error {
	var all []error
	for _, err := range joined.Unwrap() {
		if more, ok := err.(interface{ Unwrap() []error }); ok {
			all = append(all, flatten(more)...)
			continue
		}
		all = append(all, err)
	}
	return all
}
