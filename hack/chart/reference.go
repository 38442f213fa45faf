package main

import (
	"fmt"
	"regexp"
	"strings"
)

// introduction begins the reference.
const introduction = `# Values of the chart

Derived from the comments of [values.yaml](values.yaml) by ` + "`make generate`" + `. How to install: [docs/install.md](../../docs/install.md).

| value | default | meaning |
|---|---|---|
`

// Lines of values.yaml.
var (
	commentLine = regexp.MustCompile(`^ *# ?(.*)$`)
	valueLine   = regexp.MustCompile(`^( *)([A-Za-z]+):(?: (.*))?$`)
)

// reference makes a table of every value from the comment above it. Values are on
// one line each; what has lines of its own below it is a group.
func reference(text string) (string, error) {
	var page strings.Builder
	page.WriteString(introduction)
	var path, comment []string
	for number, line := range strings.Split(text, "\n") {
		if found := commentLine.FindStringSubmatch(line); found != nil {
			comment = append(comment, found[1])
			continue
		}
		if strings.TrimSpace(line) == "" {
			comment = nil // of the file, or of a part of it
			continue
		}
		found := valueLine.FindStringSubmatch(line)
		if found == nil || len(found[1])%2 != 0 || len(found[1])/2 > len(path) {
			return "", fmt.Errorf("line %d is neither a comment nor a value: %s", number+1, line)
		}
		if len(comment) == 0 {
			return "", fmt.Errorf("line %d: %s has no comment", number+1, found[2])
		}
		path = append(path[:len(found[1])/2], found[2])
		row(&page, strings.Join(path, "."), found[3], strings.Join(comment, " "))
		comment = nil
	}
	return page.String(), nil
}

// row writes one value, or one group.
func row(page *strings.Builder, name, value, comment string) {
	shown := ""
	if value != "" {
		shown = "`" + strings.ReplaceAll(value, "|", `\|`) + "`"
	}
	fmt.Fprintf(page, "| `%s` | %s | %s |\n", name, shown, strings.ReplaceAll(comment, "|", `\|`))
}
