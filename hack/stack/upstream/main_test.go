package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestEchoTellsWhatReachedIt(t *testing.T) {
	request := httptest.NewRequest(http.MethodPost, "http://api.example.com/v1/a%2Fb?c=%3Cd%3E", strings.NewReader("body"))
	request.Header = http.Header{"X-Apikey-Id": {"1", "2"}, "X_Apikey_Id": {"3"}}
	recorder := httptest.NewRecorder()
	answer(recorder, request)
	var got seen
	if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := seen{Method: "POST", Host: "api.example.com", Path: "http://api.example.com/v1/a%2Fb?c=%3Cd%3E",
		Headers: map[string][]string{"x-apikey-id": {"1", "2"}, "x_apikey_id": {"3"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAnyMethodIsAnswered asks with a real gRPC client.
func TestAnyMethodIsAnswered(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(answer))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	conn, err := grpc.NewClient(server.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-apikey-name", "ci")
	text := &wrapperspb.StringValue{}
	if err := conn.Invoke(ctx, "/stepsies.v1.Stepsies/Create", &emptypb.Empty{}, text); err != nil {
		t.Fatal(err)
	}
	var got seen
	if err := json.Unmarshal([]byte(text.GetValue()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Path != "/stepsies.v1.Stepsies/Create" || got.Method != "POST" || !cmp.Equal(got.Headers["x-apikey-name"], []string{"ci"}) {
		t.Errorf("got %+v", got)
	}
}
