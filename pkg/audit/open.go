package audit

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"keygate.dev/keygate/pkg/scrub"
)

// Open makes the stream, as JSON lines, in a file that is created or appended to, and
// readable by its owner only; or on otherwise, where path is "" or "-". close ends it.
func Open(path string, otherwise io.Writer) (log *Log, close func() error, err error) {
	to, close := otherwise, func() error { return nil }
	if path != "" && path != "-" {
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("open the audit log: %w", err)
		}
		to, close = file, file.Close
	}
	return New(slog.New(scrub.Handler(slog.NewJSONHandler(to, nil)))), close, nil
}
