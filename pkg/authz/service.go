package authz

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"keygate.dev/keygate/pkg/policy"
)

// ServiceName is the gRPC service that Envoy calls
// (envoy/service/auth/v3/external_auth.proto).
const ServiceName = "envoy.service.auth.v3.Authorization"

// serviceDesc describes the service. It is not the generated one because requests
// are not read into generated types; see checkRequest.
var serviceDesc = grpc.ServiceDesc{
	ServiceName: ServiceName,
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Check", Handler: handleCheck}},
	Metadata:    "envoy/service/auth/v3/external_auth.proto",
}

// handleCheck is the handler of Check. Interceptors are passed over: what they
// would do is done in check.
func handleCheck(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := checkRequests.Get().(*checkRequest)
	defer in.release()
	if err := decode(in); err != nil {
		return nil, err
	}
	return srv.(*service).check(ctx, in), nil
}

// service answers Check.
type service struct {
	decider  *Decider
	answers  *answers
	observer *observer
	// witness is told of keys that are used; nil: nobody is.
	witness Witness
	trust   trust
}

// check translates, decides and answers. It never fails: an RPC error would let the
// request through where Envoy is set to failure_mode_allow.
func (s *service) check(ctx context.Context, in *checkRequest) (out *answer) {
	start := time.Now()
	s.observer.inFlight.Inc()
	defer s.observer.inFlight.Dec()
	defer func() {
		if cause := recover(); cause != nil {
			out = s.panicked(ctx, in, cause, start)
		}
	}()
	in.parse(s.trust)
	v := s.decider.Decide(ctx, &in.Request)
	out = s.answers.of(&v, &in.Request)
	s.observer.decided(ctx, &v, &in.Request, start)
	annotate(ctx, &v)
	s.tell(&v, &in.Request, start)
	return out
}

// panicked is the answer where the judgement failed.
func (s *service) panicked(ctx context.Context, in *checkRequest, cause any, start time.Time) *answer {
	s.observer.panicked(ctx, cause)
	v := Verdict{Reason: policy.Unavailable, Detail: DetailPanic, RequestID: in.requestID()}
	out := s.answers.of(&v, &in.Request)
	s.observer.decided(ctx, &v, &in.Request, start)
	return out
}
