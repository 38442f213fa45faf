package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "keygate.dev", Version: "v1alpha1"}

// AddToScheme registers this package's types with a scheme. It never fails.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&APIKey{}, &APIKeyList{},
		&APIKeyPolicy{}, &APIKeyPolicyList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
