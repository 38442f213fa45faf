package authz

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// annotate tells the span of a Check, where somebody records one, what was decided:
// the same as operators get in logs and dynamic metadata. It has no part of the token.
func annotate(ctx context.Context, v *Verdict) {
	span := oteltrace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{
		attribute.String("keygate.reason", string(v.Reason)),
		attribute.Bool("keygate.allow", v.Allow),
	}
	for _, a := range []struct{ name, value string }{
		{"keygate.detail", string(v.Detail)},
		{"keygate.key_id", v.KeyID},
		{"keygate.request_id", v.RequestID},
	} {
		if a.value != "" {
			attributes = append(attributes, attribute.String(a.name, a.value))
		}
	}
	if v.Policy != nil {
		attributes = append(attributes, attribute.String("keygate.policy", v.Policy.String()))
	}
	span.SetAttributes(attributes...)
}
