package main

import "os"

// auditPolicy has the API server note what service accounts ask of it, without what
// they send and get: that has tokens in it. Those of kube-controller-manager, and
// certificate users, such as the admin, are left out.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
- {level: Metadata, userGroups: ["system:serviceaccounts"]}
- {level: None}
`

// writeAuditPolicy writes the API server's audit policy.
func (s *stack) writeAuditPolicy() error {
	return os.WriteFile(s.path("audit.yaml"), []byte(auditPolicy), 0o600)
}
