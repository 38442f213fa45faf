package command

import (
	"regexp"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/lifetime"
)

// specFlags are what an APIKey asks for, as the command line says it.
type specFlags struct {
	policy, environment, plan, expires string
	displayName, description           string
	scopes, cidrs                      []string
	metadata                           map[string]string
	retain, secretName, ttl, envVar    string
	rotateEvery, overlap, sha256       string
}

// addCommon adds the flags of keys that are minted and of those that are registered.
func (f *specFlags) addCommon(s *session, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.policy, "policy", "", "policy that the key is for: NAME or NAMESPACE/NAME (required)")
	flags.StringSliceVar(&f.scopes, "scopes", nil, "what the key may do, by the policy's names: read,write")
	flags.StringVar(&f.environment, "environment", "", "one of the policy's environments (default: its first)")
	flags.StringVar(&f.plan, "plan", "", "one of the policy's plans (default: the policy's)")
	flags.StringVar(&f.expires, "expires", "", "when the key stops working: 90d, 36h, or an RFC 3339 time (default: never)")
	flags.StringSliceVar(&f.cidrs, "allowed-cidr", nil, "network that the key may be used from, such as 203.0.113.0/24 (default: anywhere)")
	completePolicyParts(s, cmd)
}

// addMinted adds the flags of keys that are minted.
func (f *specFlags) addMinted(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.displayName, "display-name", "", `what people call the key, such as "CI/CD Pipeline"`)
	flags.StringVar(&f.description, "description", "", "what the key is used for")
	flags.StringToStringVar(&f.metadata, "metadata", nil, "what Envoy is told besides: team=acme")
	flags.StringVar(&f.retain, "retain", "", "Once (the token is collected) or Keep (its Secret stays, for workloads that mount it)")
	flags.StringVar(&f.secretName, "secret-name", "", "Secret that the token is delivered in (default: the APIKey's name)")
	flags.StringVar(&f.ttl, "ttl", "", "how long an uncollected Secret is kept: 24h")
	flags.StringVar(&f.envVar, "env-var", "", "adds a line NAME=token to the Secret, as .env files have it")
	flags.StringVar(&f.rotateEvery, "rotate-every", "", "replaces the token by itself: 90d (needs --retain Keep)")
	flags.StringVar(&f.overlap, "overlap", "", "how long an old token works on after a rotation: 24h")
	flags.StringVar(&f.sha256, "sha256", "", "registers a key that was made elsewhere, by its SHA-256: nothing is minted")
	_ = cmd.RegisterFlagCompletionFunc("retain", cobra.FixedCompletions([]string{"Once", "Keep"}, cobra.ShellCompDirectiveNoFileComp))
}

// hashShape is a SHA-256 as the API takes it.
var hashShape = regexp.MustCompile(`^[0-9a-f]{64}$`)

// key makes an APIKey of the flags. What the API server judges is left to it.
func (f *specFlags) key(namespace, name string, now time.Time) (*v1alpha1.APIKey, error) {
	policy, err := parsePolicy(f.policy, namespace)
	if err != nil {
		return nil, err
	}
	if f.sha256 != "" && !hashShape.MatchString(f.sha256) {
		return nil, usage("if it was the key itself, it is in your shell's history now: replace it. Hash a key with `printf %s \"$KEY\" | sha256sum`",
			"--sha256 is not 64 lower-case hex digits")
	}
	key := &v1alpha1.APIKey{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "APIKey"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.APIKeySpec{
			PolicyRef:   v1alpha1.PolicyReference{Name: policy.Name},
			DisplayName: f.displayName, Description: f.description, Environment: f.environment,
			Plan: v1alpha1.PlanName(f.plan), SHA256: f.sha256,
			Delivery: v1alpha1.Delivery{SecretName: f.secretName, Retain: v1alpha1.RetainPolicy(f.retain), EnvVar: f.envVar},
		},
	}
	if policy.Namespace != namespace {
		key.Spec.PolicyRef.Namespace = policy.Namespace
	}
	f.lists(&key.Spec)
	return key, f.times(&key.Spec, now)
}

// lists fills in what there can be several of.
func (f *specFlags) lists(spec *v1alpha1.APIKeySpec) {
	for _, scope := range f.scopes {
		spec.Scopes = append(spec.Scopes, v1alpha1.ScopeName(scope))
	}
	for _, cidr := range f.cidrs {
		spec.AllowedCIDRs = append(spec.AllowedCIDRs, v1alpha1.CIDR(cidr))
	}
	for name, value := range f.metadata {
		if spec.Metadata == nil {
			spec.Metadata = map[string]v1alpha1.MetadataValue{}
		}
		spec.Metadata[name] = v1alpha1.MetadataValue(value)
	}
}

// times fills in what is a time.
func (f *specFlags) times(spec *v1alpha1.APIKeySpec, now time.Time) error {
	if f.expires != "" {
		end, err := lifetime.ParseEnd(f.expires, now)
		if err != nil {
			return usage("", "--expires: %w", err)
		}
		spec.ExpiresAt = &metav1.Time{Time: end}
	}
	every, err := length("--rotate-every", f.rotateEvery)
	if err != nil {
		return err
	}
	overlap, err := length("--overlap", f.overlap)
	if err != nil {
		return err
	}
	if every != nil || overlap != nil {
		spec.Rotation = &v1alpha1.Rotation{Every: every, Overlap: overlap}
	}
	spec.Delivery.TTL, err = length("--ttl", f.ttl)
	return err
}

// length reads a flag that is a duration; nil: it was not given.
func length(flag, text string) (*metav1.Duration, error) {
	if text == "" {
		return nil, nil
	}
	d, err := lifetime.Parse(text)
	if err != nil {
		return nil, usage("", "%s: %w", flag, err)
	}
	return &metav1.Duration{Duration: d}, nil
}
