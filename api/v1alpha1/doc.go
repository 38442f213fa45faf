// Package v1alpha1 is the declarative API of Keygate: an [APIKeyPolicy]
// describes an API and who may hold keys to it, an [APIKey] asks for one key.
//
// Everything that can be judged from one object alone is refused by the schema
// when it is applied; what needs more than that becomes a condition. Nothing
// that the schema lets through may fail to decode into these types, because one
// undecodable object would stop the informers for everybody: times, durations
// and integers therefore carry patterns and bounds.
//
// +kubebuilder:object:generate=true
// +groupName=keygate.dev
package v1alpha1
