// Package cluster is what the commands do to a cluster: APIKeys are read, written and
// waited for, tokens are collected from their delivery Secrets. Whatever verbosity is
// asked for, no body of a request that is about a Secret is ever logged.
package cluster

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"

	"keygate.dev/keygate/api/v1alpha1"
)

// fieldManager owns what the commands write.
const fieldManager = client.FieldOwner("kubectl-apikey")

// Cluster is a cluster as one user sees it. Safe for concurrent use.
type Cluster struct {
	// Config is how it is reached.
	Config *rest.Config
	// Namespace that the user works in.
	Namespace string

	client client.WithWatch
}

// New makes a Cluster. No request is sent.
func New(config *rest.Config, namespace string) (*Cluster, error) {
	crlog.SetLogger(logr.Discard()) // else controller-runtime complains that nobody did
	config = rest.CopyConfig(config)
	// The API server guards itself (priority and fairness), also against an import.
	config.QPS = -1
	config.UserAgent = "kubectl-apikey"
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper()})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &Cluster{Config: config, Namespace: namespace, client: c}, nil
}

// Scheme knows the kinds that the commands read and print.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, eventsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

// mapper knows the resources of these kinds, so that none has to be asked for.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.AddSpecific(v1alpha1.GroupVersion.WithKind("APIKey"), v1alpha1.GroupVersion.WithResource("apikeys"), v1alpha1.GroupVersion.WithResource("apikey"), meta.RESTScopeNamespace)
	m.AddSpecific(v1alpha1.GroupVersion.WithKind("APIKeyPolicy"), v1alpha1.GroupVersion.WithResource("apikeypolicies"), v1alpha1.GroupVersion.WithResource("apikeypolicy"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	m.Add(eventsv1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	return m
}

// silent is a context in which client-go logs nothing: from -v=8 on it logs bodies,
// and a Secret's body is a token.
func silent(ctx context.Context) context.Context {
	return klog.NewContext(ctx, logr.Discard())
}
