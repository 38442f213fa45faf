// Command upstream is the stack's sample service. It answers every request, over
// HTTP/1.1 and cleartext HTTP/2, with what reached it:
//
//	{"method": "GET", "host": "api.example.com", "path": "/v1/x?y=z", "headers": {"accept": ["*/*"]}}
//
// Header names are in lower case, path is the request target as sent.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// maxBody bounds how much of a request's body is read and dropped, in bytes.
const maxBody = 1 << 20

// seen is the answer.
type seen struct {
	Method  string              `json:"method"`
	Host    string              `json:"host"`
	Path    string              `json:"path"`
	Headers map[string][]string `json:"headers"`
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "host:port to serve on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "upstream:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen string) error {
	server := &http.Server{Addr: listen, Handler: http.HandlerFunc(echo), Protocols: new(http.Protocols), ReadHeaderTimeout: 10 * time.Second}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func echo(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBody))
	answer := seen{Method: r.Method, Host: r.Host, Path: r.RequestURI, Headers: map[string][]string{}}
	for name, values := range r.Header {
		answer.Headers[strings.ToLower(name)] = values
	}
	if len(r.TransferEncoding) > 0 { // net/http takes it out of the header
		answer.Headers["transfer-encoding"] = r.TransferEncoding
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(answer) // the client hung up: nobody to tell
}
