package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEchoTellsWhatReachedIt(t *testing.T) {
	request := httptest.NewRequest(http.MethodPost, "http://api.example.com/v1/a%2Fb?c=%3Cd%3E", strings.NewReader("body"))
	request.Header = http.Header{"X-Apikey-Id": {"1", "2"}, "X_Apikey_Id": {"3"}}
	recorder := httptest.NewRecorder()
	echo(recorder, request)
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
