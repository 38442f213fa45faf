package authz

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"keygate.dev/keygate/pkg/policy"
)

// denialHeaders is room for the headers that Keygate itself sets on a denial.
const denialHeaders = 11

// denied is what the caller is told.
func (a *answers) denied(v *Verdict, r *Request) *authv3.DeniedHttpResponse {
	denial := v.Denial()
	h := newHeaders(denialHeaders + len(denial.Headers))
	h.set("x-request-id", v.RequestID)
	out := &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: typev3.StatusCode(denial.Status)}}
	if r.grpc() {
		h.setGRPC(v, denial)
	} else if body := denial.AppendBody(nil, v.values(denial)); a.maxBody == 0 || len(body) <= a.maxBody {
		h.set("content-type", denial.ContentType)
		out.Body = string(body)
	}
	if denial.Challenge != "" {
		h.set("www-authenticate", denial.Challenge)
	}
	if seconds := v.retryAfter(denial); seconds > 0 {
		h.set("retry-after", strconv.Itoa(seconds))
	}
	h.setQuota(v)
	h.setOwn(denial)
	out.Headers = h.options
	return out
}

// setOwn sets the headers of the policy's own. One of them may take the place of
// Cache-Control; denials are not cached otherwise.
func (h *headers) setOwn(denial *policy.Denial) {
	cached := false
	for _, own := range denial.Headers {
		cached = cached || own[0] == "cache-control"
		h.set(own[0], own[1])
	}
	if !cached {
		h.set("cache-control", "no-store")
	}
}

// setQuota sets what the caller is told of its limits, where a request was counted.
func (h *headers) setQuota(v *Verdict) {
	if windows := v.Quota.Windows; len(windows) > 0 {
		h.set(rateLimitPolicyHeader, rateLimitPolicy(windows))
		h.set(rateLimitHeader, rateLimit(windows))
	}
}

// setGRPC sets what a gRPC client reads in place of a body. The HTTP status, 200,
// and the content type are set by Envoy; it would also put a body into grpc-message
// and derive grpc-status from the HTTP status, were they not set here.
func (h *headers) setGRPC(v *Verdict, denial *policy.Denial) {
	s := grpcStatus(v, denial)
	h.set("grpc-status", strconv.Itoa(int(s.GetCode())))
	h.set("grpc-message", encodeMessage(s.GetMessage()))
	if details := encodeDetails(s); details != "" {
		h.set("grpc-status-details-bin", details)
	}
}

// headers collects HeaderValueOptions that are allocated together.
type headers struct {
	room []struct {
		option corev3.HeaderValueOption
		header corev3.HeaderValue
	}
	options []*corev3.HeaderValueOption
}

// newHeaders has room for n headers.
func newHeaders(n int) *headers {
	h := &headers{options: make([]*corev3.HeaderValueOption, 0, n)}
	h.room = make([]struct {
		option corev3.HeaderValueOption
		header corev3.HeaderValue
	}, n)
	return h
}

// set adds a header that takes the place of all of its name. The default action of
// the proto, APPEND_IF_EXISTS_OR_ADD, would leave what the caller sent.
func (h *headers) set(name, value string) {
	next := &h.room[len(h.options)]
	next.header.Key, next.header.Value = name, value
	next.option.Header = &next.header
	next.option.AppendAction = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	h.options = append(h.options, &next.option)
}
