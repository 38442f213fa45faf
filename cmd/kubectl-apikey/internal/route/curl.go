package route

import (
	"fmt"
	"strings"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/policy"
)

// Curl is a line for a POSIX-like shell (bash, zsh) that sends a sample with a key. The
// key is typed or pasted at its prompt: it is in no history, and because printf is
// built into the shell, in no list of processes either; curl reads it from standard
// input. The credential is the policy's first, in its own spelling.
func Curl(spec *v1alpha1.APIKeyPolicySpec, p *policy.Policy, s Sample) string {
	target := "https://" + exampleHost(spec) + s.Path
	method := ""
	if s.Method != "GET" {
		method = "-X " + s.Method + " "
	}
	const ask = "read -rs KEY && printf "
	if query := p.Credentials()[0].Query; query != "" {
		return ask + fmt.Sprintf(`'url = "%%s?%s=%%s"' %s "$KEY" | curl %s-K -`, query, quote(target), method)
	}
	return ask + fmt.Sprintf(`'%s%%s' "$KEY" | curl %s-H @- %s`, headerOf(spec), method, quote(target))
}

// headerOf is the field that carries a key, up to the key.
func headerOf(spec *v1alpha1.APIKeyPolicySpec) string {
	header := &v1alpha1.CredentialHeader{Name: "Authorization", Scheme: "Bearer"}
	if len(spec.Credentials) > 0 {
		header = spec.Credentials[0].Header
	}
	if header.Scheme == "" {
		return header.Name + ": "
	}
	return header.Name + ": " + header.Scheme + " "
}

// exampleHost is a host that the policy claims.
func exampleHost(spec *v1alpha1.APIKeyPolicySpec) string {
	if len(spec.Hosts) == 0 {
		return "HOST"
	}
	return strings.Replace(string(spec.Hosts[0]), "*", "www", 1)
}

// quote quotes a word for a shell where it has to be.
func quote(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/:.-_%+=,@") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
