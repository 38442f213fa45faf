// Command promql reads expressions, a JSON list of strings, from standard input, and
// writes what Prometheus's own parser makes of them: a JSON list, in the same order,
// of the series that each one selects, of the parts that have to yield something where
// all is well, or of the error.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// parsed is one expression.
type parsed struct {
	Series []series `json:"series"`
	// Groups are the labels by which it aggregates.
	Groups []string `json:"groups"`
	// Parts are what an alert compares with its thresholds, or the whole expression.
	Parts []string `json:"parts"`
	Error string   `json:"error,omitempty"`
}

// series is what one selector of an expression asks for.
type series struct {
	Metric string `json:"metric"`
	// Labels are those that the selector names.
	Labels []string `json:"labels"`
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "promql:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var expressions []string
	if err := json.NewDecoder(in).Decode(&expressions); err != nil {
		return fmt.Errorf("read expressions: %w", err)
	}
	all := make([]parsed, len(expressions))
	for i, expression := range expressions {
		all[i] = parse(expression)
	}
	return json.NewEncoder(out).Encode(all)
}

func parse(expression string) parsed {
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return parsed{Error: err.Error()}
	}
	p := parsed{Parts: parts(tree)}
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			p.Series = append(p.Series, read(n))
		case *parser.AggregateExpr:
			p.Groups = append(p.Groups, n.Grouping...)
		}
		return nil
	})
	return p
}

func read(selector *parser.VectorSelector) series {
	s := series{Metric: selector.Name, Labels: []string{}}
	for _, matcher := range selector.LabelMatchers {
		if matcher.Name != labels.MetricName {
			s.Labels = append(s.Labels, matcher.Name)
		}
	}
	return s
}

// parts takes thresholds off an expression. Of absent() what must be there is left.
func parts(tree parser.Expr) []string {
	switch n := tree.(type) {
	case *parser.ParenExpr:
		return parts(n.Expr)
	case *parser.Call:
		if n.Func.Name == "absent" {
			return []string{n.Args[0].String()}
		}
	case *parser.BinaryExpr:
		if n.Op.IsSetOperator() {
			return append(parts(n.LHS), parts(n.RHS)...)
		}
		if n.Op.IsComparisonOperator() && n.RHS.Type() == parser.ValueTypeScalar {
			return parts(n.LHS)
		}
	}
	return []string{tree.String()}
}
