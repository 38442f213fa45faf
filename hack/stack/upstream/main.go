// Command upstream is the stack's sample service. It answers every request, over
// HTTP/1.1 and cleartext HTTP/2, with what reached it:
//
//	{"method": "GET", "host": "api.example.com", "path": "/v1/x?y=z", "headers": {"accept": ["*/*"]}}
//
// Header names are in lower case, path is the request target as sent. Any gRPC method
// is answered with the same JSON, in a message whose first field is a string: read it
// as a google.protobuf.StringValue.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
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

	"google.golang.org/protobuf/encoding/protowire"
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
	// No ReadHeaderTimeout: Envoy opens connections that it may use much later, and Go
	// answers 400 where that time is up in the middle of a first request's line.
	server := &http.Server{Addr: listen, Handler: http.HandlerFunc(answer), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// answer answers gRPC and plain requests each in their way.
func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBody))
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		echoGRPC(w, r)
		return
	}
	echo(w, r)
}

// echo answers with what was seen.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(describe(r)) // the client hung up: nobody to tell
}

// echoGRPC answers with what was seen in one message (gRPC over HTTP/2: a byte that
// says "not compressed", four of length, the message; the status as a trailer).
func echoGRPC(w http.ResponseWriter, r *http.Request) {
	message := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), describe(r))
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...))
	w.Header().Set("Grpc-Status", "0")
}

// describe tells what was seen, as JSON.
func describe(r *http.Request) []byte {
	answer := seen{Method: r.Method, Host: r.Host, Path: r.RequestURI, Headers: map[string][]string{}}
	for name, values := range r.Header {
		answer.Headers[strings.ToLower(name)] = values
	}
	if len(r.TransferEncoding) > 0 { // net/http takes it out of the header
		answer.Headers["transfer-encoding"] = r.TransferEncoding
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(answer) // strings only: there is no error
	return text.Bytes()
}
