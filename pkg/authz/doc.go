// Package authz decides requests and tells Envoy.
//
// [Decider.Decide] is the judgement: a pure function of a request, the compiled
// policies and the key store, which knows neither Envoy nor Kubernetes. Around it
// lies a thin edge that speaks envoy.service.auth.v3 (envoy_request.go,
// envoy_response.go) and the gRPC server (server.go).
//
// It defends against whatever a caller can put into a request: what is unset,
// unknown, doubled, cut or spelled in another way is a denial; no header that a
// caller sends can pass for one that Keygate sets; a failure on our side is an
// error and never an allow. A token lives only in buffers that are cleared before
// they are used again.
package authz
