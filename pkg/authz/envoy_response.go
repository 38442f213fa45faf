package authz

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"keygate.dev/keygate/pkg/policy"
)

// Field numbers of envoy/service/auth/v3/external_auth.proto.
const (
	checkResponseOK       protowire.Number = 3
	checkResponseMetadata protowire.Number = 4

	okResponseHeadersToRemove protowire.Number = 5
)

// answer is a CheckResponse in parts, which are encoded one after the other: that
// merges them (protobuf encoding, "Last One Wins"). Some are kept encoded: what is
// the same for all requests of a policy, and the dynamic metadata, which as a
// structpb.Struct would cost more than the decision.
type answer struct {
	response *authv3.CheckResponse
	// removal is a CheckResponse with headers_to_remove only, encoded.
	removal []byte
	// metadata is a google.protobuf.Struct, encoded.
	metadata []byte
}

// encode returns the CheckResponse on the wire.
func (a *answer) encode() ([]byte, error) {
	size := proto.Size(a.response) + len(a.removal) +
		protowire.SizeTag(checkResponseMetadata) + protowire.SizeBytes(len(a.metadata))
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(make([]byte, 0, size), a.response)
	if err != nil {
		return nil, err
	}
	out = append(out, a.removal...)
	out = protowire.AppendTag(out, checkResponseMetadata, protowire.BytesType)
	return protowire.AppendBytes(out, a.metadata), nil
}

// encodeRemoval returns an encoded CheckResponse that removes headers.
func encodeRemoval(names []string) []byte {
	var ok []byte
	for _, name := range names {
		ok = protowire.AppendTag(ok, okResponseHeadersToRemove, protowire.BytesType)
		ok = protowire.AppendString(ok, name)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, checkResponseOK, protowire.BytesType), ok)
}

// answers turns verdicts into CheckResponses.
type answers struct {
	// policies is the table in force.
	policies func() *policy.Table
	// maxBody is the longest body that is sent, in bytes; a longer one is left out,
	// never cut. 0: no limit.
	maxBody int
	// preparations are what is made ahead for each policy.
	preparations preparations
}

// of is the answer to a request. It refers to nothing in r.
func (a *answers) of(v *Verdict, r *Request) *answer {
	out := &answer{response: &authv3.CheckResponse{}, metadata: appendMetadata(make([]byte, 0, metadataSize), v)}
	switch {
	case v.Allow:
		made := a.preparations.of(a.policies(), v.Policy)
		out.removal = made.removal
		out.response.Status = statuses[codes.OK]
		out.response.HttpResponse = &authv3.CheckResponse_OkResponse{OkResponse: okResponse(made.upstream, v, r)}
	case v.Reason == policy.Unavailable:
		// Since Envoy 1.37, an error_response beside a status that is not OK counts as
		// an error and not as a denial: Envoy raises ext_authz.error, honours
		// failure_mode_allow, and sends this status, header and body in place of
		// status_on_error, whose default is 403 (external_auth.proto,
		// CheckResponse.error_response).
		out.response.Status = statuses[codes.Unavailable]
		out.response.HttpResponse = &authv3.CheckResponse_ErrorResponse{ErrorResponse: a.denied(v, r)}
	default:
		out.response.Status = denialStatus(v.Reason)
		out.response.HttpResponse = &authv3.CheckResponse_DeniedResponse{DeniedResponse: a.denied(v, r)}
	}
	return out
}

// statuses are the values of CheckResponse.status, which is set explicitly on
// every answer: Envoy takes an unset one for OK.
var statuses = map[codes.Code]*status.Status{
	codes.OK:                {Code: int32(codes.OK)},
	codes.InvalidArgument:   {Code: int32(codes.InvalidArgument)},
	codes.Unauthenticated:   {Code: int32(codes.Unauthenticated)},
	codes.PermissionDenied:  {Code: int32(codes.PermissionDenied)},
	codes.ResourceExhausted: {Code: int32(codes.ResourceExhausted)},
	codes.Unavailable:       {Code: int32(codes.Unavailable)},
}

// denialStatus is the status of a denial: never OK, and never none.
func denialStatus(reason policy.Reason) *status.Status {
	code := codes.Code(reason.GRPCCode())
	if s := statuses[code]; s != nil && code != codes.OK {
		return s
	}
	return statuses[codes.PermissionDenied]
}

// okResponse is what becomes of an allowed request's header on its way upstream,
// beside what the policy removes from all.
func okResponse(u *upstream, v *Verdict, r *Request) *authv3.OkHttpResponse {
	values := u.values(v)
	h := newHeaders(len(values) + 2)
	for i, value := range values {
		if value != "" {
			h.set(u.names[i], value)
		}
	}
	if target, changed := r.withoutKeys(v.Policy.Credentials()); changed {
		// query_parameters_to_remove would sort the query and turn "y" into "y=".
		h.set(":path", target)
	}
	if id, n := r.field("x-request-id"); n > 0 && id != v.RequestID {
		h.set("x-request-id", v.RequestID)
	}
	return &authv3.OkHttpResponse{
		Headers: h.options, HeadersToRemove: u.removals(r, &values), ResponseHeadersToAdd: quotaHeaders(v),
	}
}

// quotaHeaders are the response headers of a request that was counted. They
// overwrite the upstream's own.
func quotaHeaders(v *Verdict) []*corev3.HeaderValueOption {
	if len(v.Quota.Windows) == 0 {
		return nil
	}
	h := newHeaders(2)
	h.setQuota(v)
	return h.options
}
