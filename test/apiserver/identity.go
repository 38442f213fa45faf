package apiserver

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// The identities of config/rbac.
const (
	systemNamespace   = "keygate-system"
	controllerAccount = "keygate-controller"
	extauthzAccount   = "keygate-extauthz"
)

// tokenSeconds is the life of a service-account token: longer than any test.
const tokenSeconds = 24 * 60 * 60

// ConfigFor authenticates as user, a member of groups, by client certificate. It
// has no rights but those that the test grants, or that its groups have.
func (s *Server) ConfigFor(user string, groups ...string) *rest.Config {
	s.tb.Helper()
	added, err := s.plane.env.AddUser(envtest.User{Name: user, Groups: groups}, unlimited(&rest.Config{}))
	if err != nil {
		s.tb.Fatalf("add user %s: %v", user, err)
	}
	return added.Config()
}

// Controller authenticates as the controller's shipped service account.
func (s *Server) Controller() *rest.Config {
	s.tb.Helper()
	return s.ServiceAccount(systemNamespace, controllerAccount)
}

// Extauthz authenticates as extauthz's shipped service account.
func (s *Server) Extauthz() *rest.Config {
	s.tb.Helper()
	return s.ServiceAccount(systemNamespace, extauthzAccount)
}

// ServiceAccount authenticates as a service account that exists, by a token from
// the TokenRequest API, as a pod would.
func (s *Server) ServiceAccount(namespace, name string) *rest.Config {
	s.tb.Helper()
	config, err := s.plane.serviceAccount(s.tb.Context(), namespace, name)
	if err != nil {
		s.tb.Fatal(err)
	}
	return config
}

func (p *plane) serviceAccount(ctx context.Context, namespace, name string) (*rest.Config, error) {
	admin, err := kubernetes.NewForConfig(p.admin)
	if err != nil {
		return nil, err
	}
	seconds := int64(tokenSeconds)
	token, err := admin.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("request a token for the service account %s/%s of config/rbac: %w", namespace, name, err)
	}
	config := rest.AnonymousClientConfig(p.admin)
	config.BearerToken = token.Status.Token
	return config, nil
}
