// Package rights compares what accounts may do, by the roles that ship, with what they
// did, by the audit log of a real API server: what is refused is a right that lacks,
// and what nobody uses is one too many.
package rights

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// Call is one request to the API server.
type Call struct {
	// Account is namespace:name of a service account.
	Account string
	Verb    string
	// Group is "" for Kubernetes' own.
	Group string
	// Resource has its subresource behind a slash.
	Resource string
	// Namespace is "" for what has none, and for all.
	Namespace string
	// Name of the object; "" where the API server does not judge by it.
	Name string
	// Refused by RBAC. What admission refuses is not.
	Refused bool
}

func (c Call) String() string {
	return fmt.Sprintf("%s: %s %s %s/%s", c.Account, c.Verb, in(c.Group, c.Resource), c.Namespace, c.Name)
}

// in is a resource as kubectl has it.
func in(group, resource string) string {
	if group == "" {
		return resource
	}
	name, sub, _ := strings.Cut(resource, "/")
	if sub != "" {
		sub = "/" + sub
	}
	return name + "." + group + sub
}

// event is what is needed of one of audit.k8s.io/v1.
type event struct {
	Verb      string
	User      struct{ Username string }
	ObjectRef *struct {
		APIGroup, Resource, Subresource, Namespace, Name string
	}
	ResponseStatus struct{ Code int }
	Annotations    map[string]string
	// Bodies are not in a log at the level Metadata.
	RequestObject, ResponseObject json.RawMessage
}

// serviceAccount begins the user name of one.
const serviceAccount = "system:serviceaccount:"

// Read reads the calls of service accounts from audit logs, each kind of call once. A log
// that has bodies is an error: they would have tokens in them.
func Read(logs ...string) ([]Call, error) {
	seen := map[Call]bool{}
	var all []Call
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasSuffix(line, "\n") {
				break // it is being written
			}
			var e event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return nil, fmt.Errorf("%s: %w", log, err)
			}
			if e.RequestObject != nil || e.ResponseObject != nil {
				return nil, fmt.Errorf("%s holds bodies", log)
			}
			for _, call := range calls(&e) {
				if !seen[call] {
					seen[call] = true
					all = append(all, call)
				}
			}
		}
	}
	return all, nil
}

// calls are what an event says: none for one that is about no resource, and two for an
// apply that made the object, which takes the right to create too.
func calls(e *event) []Call {
	account, ours := strings.CutPrefix(e.User.Username, serviceAccount)
	object := e.ObjectRef
	if !ours || object == nil {
		return nil
	}
	call := Call{
		Account: account, Verb: e.Verb, Group: object.APIGroup, Resource: object.Resource,
		Namespace: object.Namespace, Name: object.Name,
		Refused: e.Annotations["authorization.k8s.io/decision"] == "forbid",
	}
	if object.Subresource != "" {
		call.Resource += "/" + object.Subresource
	}
	created := call
	created.Verb, created.Name = "create", ""
	switch {
	case call.Verb == created.Verb:
		return []Call{created}
	case call.Verb == "patch" && e.ResponseStatus.Code == http.StatusCreated:
		return []Call{call, created}
	}
	return []Call{call}
}
