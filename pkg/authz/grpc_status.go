package authz

import (
	"encoding/base64"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"keygate.dev/keygate/pkg/policy"
)

// errorDomain is the domain of the reasons in a google.rpc.ErrorInfo.
const errorDomain = "keygate.dev"

// grpcStatus is a denial as gRPC clients know it (google/rpc/status.proto): code and
// message, an ErrorInfo with the reason and what else the caller is told, and a
// RetryInfo where there is a time to try again.
func grpcStatus(v *Verdict, denial *policy.Denial) *status.Status {
	s := &status.Status{Code: denialStatus(v.Reason).GetCode(), Message: strings.ToValidUTF8(denial.Message, "\uFFFD")}
	values := v.values(denial)
	metadata := map[string]string{}
	for name, value := range map[string]string{
		"requestId": values.RequestID, "keyId": values.KeyID, "limit": values.Limit,
		"requiredScopes": denial.RequiredScopes, "requiredPlan": denial.RequiredPlan, "docs": denial.Docs,
	} {
		if value != "" {
			metadata[name] = strings.ToValidUTF8(value, "\uFFFD")
		}
	}
	details := []proto.Message{&errdetails.ErrorInfo{
		Reason: strings.ToUpper(string(v.Reason)), Domain: errorDomain, Metadata: metadata,
	}}
	if seconds := v.retryAfter(denial); seconds > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(seconds) * time.Second)})
	}
	for _, detail := range details {
		if packed, err := anypb.New(detail); err == nil { // all text is UTF-8: there is no error
			s.Details = append(s.Details, packed)
		}
	}
	return s
}

// encodeDetails is a status as in grpc-status-details-bin: a binary header, base64
// without padding. "" where it can't be encoded, which would be a bug.
func encodeDetails(s *status.Status) string {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil {
		return ""
	}
	return base64.RawStdEncoding.EncodeToString(data)
}

// encodeMessage is a message as in grpc-message: percent-encoded but for visible
// ASCII and space (gRPC over HTTP/2, "Percent-Byte-Unencoded").
func encodeMessage(message string) string {
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, len(message))
	for i := range len(message) {
		if c := message[i]; c < ' ' || c > '~' || c == '%' {
			out = append(out, '%', digits[c>>4], digits[c&0xf])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}
