package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/test/apiserver"
)

func TestMain(m *testing.M) { apiserver.Main(m) }

// Objects that are accepted; the tables say what is changed in them.
const (
	goodKey = `
apiVersion: keygate.dev/v1alpha1
kind: APIKey
metadata: {name: ci}
spec:
  policyRef: {name: stepsies, namespace: platform}
  displayName: CI/CD Pipeline
  environment: live
  scopes: [read, "read:all"]
  plan: business
  expiresAt: "2027-01-01T00:00:00Z"
  delivery: {secretName: hubspot-key, ttl: 24h}
  metadata: {team: acme}
`
	registeredKey = `
apiVersion: keygate.dev/v1alpha1
kind: APIKey
metadata: {name: legacy}
spec:
  policyRef: {name: stepsies, namespace: platform}
  displayName: CI/CD Pipeline
  sha256: ` + someSHA256 + `
`
	someSHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	goodPolicy = `
apiVersion: keygate.dev/v1alpha1
kind: APIKeyPolicy
metadata: {name: stepsies}
spec:
  hosts: [api.stepsies.com, "*.stepsies.com"]
  basePath: /v1
  grants:
  - {namespaces: {from: All}, scopes: [read], environments: [live], plans: [sandbox]}
  - {namespaces: {from: Selector, selector: {matchLabels: {a: b}}}}
  credentials:
  - header: {name: Authorization, scheme: Bearer}
  - header: {name: X-API-Key}
  - query: {name: api_key}
  keyFormat: {encoding: Hex, length: 48}
  environments: [{name: live, prefix: sk_live_}, {name: test, prefix: sk_test_}]
  scopes: [{name: read}, {name: write}, {name: admin, includes: [read, write]}]
  rules:
  - {methods: [GET], paths: ["/stepsies", "/stepsies/{id}", "/a%20b/{rest...}"], scopes: [read]}
  - {paths: ["/", "/health/"], anonymous: true}
  - {basePath: /, paths: ["/{rest...}"], anyKey: true}
  - {methods: [POST], paths: ["/x"], anyScope: [write, admin], message: "No."}
  - {methods: [PUT], paths: ["/y"], scopes: [write], plan: business, cost: 10}
  requireTLS: true
  preflight: Allow
  limitFailure: FailOpen
  defaultPlan: sandbox
  plans:
  - {name: sandbox, limits: [{requests: 100, per: 1h}]}
  - {name: business, includes: [sandbox], limits: [{requests: 10, per: 1s}, {requests: 1000, per: 1m}]}
  upstream: {prefix: x-caller-}
  errors:
    contentType: application/json
    docs: https://docs.stepsies.com/auth?a=b#c
    bodies: {"401": {error: {code: unauthorized}}}
    headers: [{name: x-support, value: "mail us"}]
`
)

// client is for one kind, in a namespace of its own.
func client(t *testing.T, resource string) dynamic.ResourceInterface {
	t.Helper()
	server := apiserver.Start(t)
	c, err := dynamic.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	return c.Resource(v1alpha1.GroupVersion.WithResource(resource)).Namespace(server.Namespace("schema", nil))
}

// object reads YAML.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return u
}

// edit replaces from by to in text, once; from must be there.
func edit(t *testing.T, text, from, to string) string {
	t.Helper()
	if strings.Count(text, from) == 0 {
		t.Fatalf("%q is not in the good object", from)
	}
	return strings.Replace(text, from, to, 1)
}

// change is one edit of a good object, and a part of the error it must earn; an
// empty one: it is accepted.
type change struct{ from, to, refused string }

// check compares err with what a change must earn.
func (c change) check(t *testing.T, err error) {
	t.Helper()
	switch {
	case c.refused == "" && err != nil:
		t.Errorf("refused: %v", err)
	case c.refused != "" && err == nil:
		t.Error("accepted")
	case c.refused != "" && !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err):
		t.Errorf("failed in another way: %v", err)
	case c.refused != "" && !strings.Contains(err.Error(), c.refused):
		t.Errorf("the error does not say %q: %v", c.refused, err)
	}
}

// create tries each change of good on creation.
func create(t *testing.T, resource, good string, changes map[string]change) {
	c := client(t, resource)
	for name, ch := range changes {
		t.Run(name, func(t *testing.T) {
			_, err := c.Create(t.Context(), object(t, edit(t, good, ch.from, ch.to)),
				metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
			ch.check(t, err)
		})
	}
}

// update tries each change of good on an object that is there.
func update(t *testing.T, resource, good string, changes map[string]change) {
	c := client(t, resource)
	there, err := c.Create(t.Context(), object(t, good), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, ch := range changes {
		t.Run(name, func(t *testing.T) {
			next := object(t, edit(t, good, ch.from, ch.to))
			next.SetResourceVersion(there.GetResourceVersion())
			_, err := c.Update(t.Context(), next, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
			ch.check(t, err)
		})
	}
}

func TestAPIKeyOnCreation(t *testing.T) {
	const expires, ttl = `"2027-01-01T00:00:00Z"`, "ttl: 24h"
	create(t, "apikeys", goodKey, map[string]change{
		"good":                        {"live", "live", ""},
		"no policy":                   {"policyRef: {name: stepsies, namespace: platform}", "displayName: x", "policyRef"},
		"a policy without a name":     {"name: stepsies, ", "", "name"},
		"unknown field":               {"environment: live", "enviroment: live", "enviroment"},
		"unknown state":               {"environment: live", "state: Paused", "Paused"},
		"suspended from the start":    {"environment: live", "state: Suspended", ""},
		"a duplicate scope":           {`"read:all"`, "read", "Duplicate"},
		"a scope with a blank":        {`"read:all"`, `"read all"`, "scopes"},
		"a scope with a quote":        {`"read:all"`, `'read"all'`, "scopes"},
		"an empty scope":              {`"read:all"`, `""`, "scopes"},
		"a long name":                 {"CI/CD Pipeline", strings.Repeat("x", 129), "displayName"},
		"expires in another zone":     {expires, `"2027-01-01T00:00:00+05:30"`, ""},
		"expires with a fraction":     {expires, `"2027-01-01T00:00:00.5Z"`, ""},
		"expired already":             {expires, `"1970-01-01T00:00:00Z"`, ""},
		"expires: no time":            {expires, `"tomorrow"`, "expiresAt"},
		"expires: a date":             {expires, `"2027-01-01"`, "expiresAt"},
		"expires: lower case":         {expires, `"2027-01-01t00:00:00z"`, "expiresAt"},
		"expires: the zero time":      {expires, `"0001-01-01T00:00:00Z"`, "expiresAt"},
		"expires: a zone of 99 hours": {expires, `"2027-01-01T00:00:00+99:00"`, "expiresAt"},
		"expires: a leap second":      {expires, `"2027-01-01T23:59:60Z"`, "expiresAt"},
		"expires: a comma":            {expires, `"2027-01-01T00:00:00,5Z"`, "expiresAt"},
		"expires: February 30":        {expires, `"2027-02-30T00:00:00Z"`, "expiresAt"},
		"expires: empty":              {expires, `""`, "expiresAt"},
		"expires: a number":           {expires, "1", "expiresAt"},
		"ttl in parts":                {ttl, "ttl: 1h30m5s", ""},
		"ttl of nothing":              {ttl, `ttl: ""`, "ttl"},
		"ttl of zero":                 {ttl, "ttl: 0h", "at least a second"},
		"ttl in days":                 {ttl, "ttl: 1d", "ttl"},
		"ttl below zero":              {ttl, "ttl: -1h", "ttl"},
		"ttl past all measure":        {ttl, "ttl: 9999999999999h", "ttl"},
		"ttl as a number":             {ttl, "ttl: 3", "ttl"},
		"ttl of what is kept":         {ttl, "ttl: 1h, retain: Keep", "ttl is for retain: Once"},
		"unknown retain":              {ttl, "retain: Always", "Always"},
		"a Secret name in upper case": {"hubspot-key", "Hubspot", "secretName"},
		"an environment of spaces":    {"environment: live", `environment: " "`, "environment"},
		"a metadata number":           {"team: acme", "team: 1", "team"},
		"a plan with a blank":         {"plan: business", `plan: "big business"`, "plan"},
		"allowed CIDRs":               {"plan: business", `allowedCIDRs: ["203.0.113.0/24", "2001:db8::/32", "192.0.2.1/32", "0.0.0.0/0"]`, ""},
		"an allowed address":          {"plan: business", "allowedCIDRs: [203.0.113.7]", "without host bits"},
		"an allowed CIDR of hosts":    {"plan: business", `allowedCIDRs: ["203.0.113.7/24"]`, "without host bits"},
		"an IPv6 CIDR of hosts":       {"plan: business", `allowedCIDRs: ["2001:db8::1/32"]`, "without host bits"},
		"an IPv4-mapped CIDR":         {"plan: business", `allowedCIDRs: ["::ffff:192.0.2.0/120"]`, "without host bits"},
		"an allowed CIDR of 33 bits":  {"plan: business", `allowedCIDRs: ["203.0.113.0/33"]`, "without host bits"},
		"an allowed name":             {"plan: business", "allowedCIDRs: [example.com]", "without host bits"},
		"an empty allowed CIDR":       {"plan: business", `allowedCIDRs: [""]`, "allowedCIDRs"},
		"no allowed CIDR in the list": {"plan: business", "allowedCIDRs: []", "allowedCIDRs"},
		"an allowed CIDR twice":       {"plan: business", `allowedCIDRs: ["203.0.113.0/24", "203.0.113.0/24"]`, "Duplicate"},
		"too many allowed CIDRs":      {"plan: business", "allowedCIDRs: [" + strings.Join(networks(33), ", ") + "]", "allowedCIDRs"},
		"the most allowed CIDRs":      {"plan: business", "allowedCIDRs: [" + strings.Join(networks(32), ", ") + "]", ""},
		"an empty metadata key":       {"team: acme", `"": acme`, "metadata keys"},
		"a long metadata value":       {"team: acme", "team: " + strings.Repeat("x", 257), "metadata"},
	})
}

// networks are n of them.
func networks(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("10.0.%d.0/24", i))
	}
	return list
}

// TestSHA256OnCreation: a key that was made elsewhere is named by 64 digits, and is
// neither rotated nor delivered.
func TestSHA256OnCreation(t *testing.T) {
	const digits, after = "sha256: " + someSHA256, "  sha256: " + someSHA256 + "\n"
	create(t, "apikeys", registeredKey, map[string]change{
		"good":                  {"CI/CD", "CI", ""},
		"delivery of nothing":   {after, after + "  delivery: {}\n", ""},
		"delivery by default":   {after, after + "  delivery: {retain: Once}\n", ""},
		"a digit less":          {digits, digits[:len(digits)-1], "sha256"},
		"a digit more":          {digits, digits + "0", "sha256"},
		"upper case":            {digits, "sha256: " + strings.ToUpper(someSHA256), "sha256"},
		"no hex":                {digits, "sha256: g" + someSHA256[1:], "sha256"},
		"a line feed behind":    {digits, `sha256: "` + someSHA256 + `\n"`, "sha256"},
		"empty":                 {digits, `sha256: ""`, "sha256"},
		"rotation":              {after, after + "  rotation: {serial: 1}\n", "rotated there"},
		"rotation by the clock": {after, after + "  rotation: {every: 24h}\n", "rotated there"},
		"a Secret":              {after, after + "  delivery: {secretName: x}\n", "is not delivered"},
		"a Secret that is kept": {after, after + "  delivery: {retain: Keep}\n", "is not delivered"},
		"a ttl":                 {after, after + "  delivery: {ttl: 1h}\n", "is not delivered"},
		"a variable":            {after, after + "  delivery: {envVar: KEY}\n", "is not delivered"},
	})
}

// TestSHA256OnUpdate: which key it is, and that it is one made elsewhere, never changes.
func TestSHA256OnUpdate(t *testing.T) {
	const line = "  sha256: " + someSHA256 + "\n"
	update(t, "apikeys", registeredKey, map[string]change{
		"stays":        {"CI/CD", "CI", ""},
		"another":      {someSHA256, strings.Repeat("a", 64), "sha256 is immutable"},
		"removed":      {line, "", "sha256 is immutable"},
		"rotated":      {line, line + "  rotation: {serial: 2}\n", "rotated there"},
		"delivered":    {line, line + "  delivery: {retain: Keep}\n", "is not delivered"},
		"suspended":    {line, line + "  state: Suspended\n", ""},
		"with an end":  {line, line + `  expiresAt: "2027-01-01T00:00:00Z"` + "\n", ""},
		"from a place": {line, line + `  allowedCIDRs: ["203.0.113.0/24"]` + "\n", ""},
	})
	update(t, "apikeys", goodKey, map[string]change{"added": {"  plan: business\n", line, "sha256 is immutable"}})
}

func TestAPIKeyOnUpdate(t *testing.T) {
	update(t, "apikeys", goodKey, map[string]change{
		"scopes":                        {`, "read:all"`, "", ""},
		"expiry":                        {"2027", "2028", ""},
		"another plan":                  {"plan: business", "plan: sandbox", ""},
		"no plan":                       {"  plan: business\n", "", ""},
		"no expiry":                     {`  expiresAt: "2027-01-01T00:00:00Z"` + "\n", "", ""},
		"suspended":                     {"environment: live", "environment: live\n  state: Suspended", ""},
		"ttl":                           {"ttl: 24h", "ttl: 1h", ""},
		"another policy":                {"name: stepsies", "name: other", "policyRef is immutable"},
		"another policy namespace":      {"namespace: platform", "namespace: other", "policyRef is immutable"},
		"policy namespace removed":      {", namespace: platform", "", "policyRef is immutable"},
		"another environment":           {"environment: live", "environment: test", "environment is immutable"},
		"environment removed":           {"  environment: live\n", "", "environment is immutable"},
		"another Secret":                {"hubspot-key", "other", "secretName is immutable"},
		"Secret name removed":           {"secretName: hubspot-key, ", "", "secretName is immutable"},
		"delivery removed":              {"  delivery: {secretName: hubspot-key, ttl: 24h}\n", "", "secretName is immutable"},
		"delivery of nothing":           {"delivery: {secretName: hubspot-key, ttl: 24h}", "delivery: {}", "secretName is immutable"},
		"policy reference altogether":   {"policyRef: {name: stepsies, namespace: platform}", "policyRef: {}", "name"},
		"revoked":                       {"environment: live", "environment: live\n  state: Revoked", ""},
		"a display name of one's own":   {"CI/CD Pipeline", "Zapier Integration", ""},
		"no metadata":                   {"  metadata: {team: acme}\n", "", ""},
		"two things, one of them wrong": {"expiresAt: \"2027-01-01T00:00:00Z\"", "state: Unrevoked", "Unrevoked"},
	})
}

// goodRotation is a key that is rotated, asked for or by itself.
const goodRotation = `
apiVersion: keygate.dev/v1alpha1
kind: APIKey
metadata: {name: rotated}
spec:
  policyRef: {name: stepsies}
  rotation: {serial: 3, every: 2160h, overlap: 24h}
  delivery: {retain: Keep, envVar: STEPSIES_API_KEY}
`

func TestRotationOnCreation(t *testing.T) {
	const every, overlap, envVar = "every: 2160h, ", "overlap: 24h", "STEPSIES_API_KEY"
	create(t, "apikeys", goodRotation, map[string]change{
		"good":                                {"3", "3", ""},
		"serial 0":                            {"serial: 3", "serial: 0", "serial"},
		"serial below 0":                      {"serial: 3", "serial: -1", "serial"},
		"serial past all measure":             {"serial: 3", "serial: 1000000001", "serial"},
		"serial as text":                      {"serial: 3", `serial: "3"`, "serial"},
		"no serial":                           {"serial: 3, ", "", ""},
		"every 10 seconds":                    {"every: 2160h, overlap: 24h", "every: 10s, overlap: 10s", ""},
		"every 9 seconds":                     {"every: 2160h, overlap: 24h", "every: 9s, overlap: 1s", "at least 10s"},
		"every: zero":                         {every, "every: 0h, ", "at least 10s"},
		"every: nothing":                      {every, `every: "", `, "at least 10s"},
		"every: days":                         {every, "every: 90d, ", "every"},
		"every, of what is collected":         {"retain: Keep", "retain: Once", "every needs delivery.retain: Keep"},
		"asked for, of what is collected":     {"every: 2160h, overlap: 24h}\n  delivery: {retain: Keep", "overlap: 24h}\n  delivery: {retain: Once", ""},
		"no overlap":                          {overlap, "overlap: 0s", ""},
		"an overlap of nothing":               {overlap, `overlap: ""`, "overlap"},
		"an overlap below zero":               {overlap, "overlap: -1h", "overlap"},
		"an overlap as a number":              {overlap, "overlap: 24", "overlap"},
		"an overlap as long as every":         {overlap, "overlap: 2160h", ""},
		"an overlap longer than every":        {overlap, "overlap: 2160h1s", "must not be longer"},
		"the default longer than every":       {"every: 2160h, overlap: 24h", "every: 23h", "must not be longer"},
		"a long overlap without every":        {"every: 2160h, overlap: 24h", "overlap: 9999h", ""},
		"an unknown member":                   {overlap, "overlaps: 24h", "overlaps"},
		"a variable in lower case":            {envVar, "_key1", ""},
		"a variable that begins with a digit": {envVar, "1KEY", "envVar"},
		"a variable with a hyphen":            {envVar, "API-KEY", "envVar"},
		"a variable with a line break":        {envVar, `"A\nB"`, "envVar"},
		"a variable with an equals sign":      {envVar, "A=B", "envVar"},
		"a long variable":                     {envVar, strings.Repeat("A", 129), "envVar"},
	})
}

func TestRotationOnUpdate(t *testing.T) {
	const serial, all = "serial: 3", "  rotation: {serial: 3, every: 2160h, overlap: 24h}\n"
	update(t, "apikeys", goodRotation, map[string]change{
		"raised":                 {serial, "serial: 4", ""},
		"raised by many":         {serial, "serial: 1000000000", ""},
		"lowered":                {serial, "serial: 2", "rotation.serial only goes up"},
		"lowered to the default": {"serial: 3, ", "", "rotation.serial only goes up"},
		"taken out":              {all, "", "rotation.serial only goes up"},
		"another overlap":        {"overlap: 24h", "overlap: 0s", ""},
		"no overlap":             {", overlap: 24h", "", ""},
		"no longer by itself":    {"every: 2160h, ", "", ""},
		"collected from now on":  {"retain: Keep", "retain: Once", "every needs delivery.retain: Keep"},
		"another variable":       {"STEPSIES_API_KEY", "API_KEY", ""},
	})
	update(t, "apikeys", edit(t, goodRotation, all, ""), map[string]change{
		"the first rotation":     {"  delivery", "  rotation: {serial: 2}\n  delivery", ""},
		"said what is so anyway": {"  delivery", "  rotation: {serial: 1}\n  delivery", ""},
	})
}

// TestRevokedIsForGood tries every way back from Revoked.
func TestRevokedIsForGood(t *testing.T) {
	revoked := edit(t, goodKey, "environment: live", "environment: live\n  state: Revoked")
	update(t, "apikeys", revoked, map[string]change{
		"stays":         {"CI/CD", "CI", ""},
		"active":        {"state: Revoked", "state: Active", "cannot be reinstated"},
		"suspended":     {"state: Revoked", "state: Suspended", "cannot be reinstated"},
		"state removed": {"  state: Revoked\n", "", "cannot be reinstated"},
	})
}

// TestEnvironmentCannotBeAdded: the default is fixed when the key is minted, and
// a later word about it is a change.
func TestEnvironmentCannotBeAdded(t *testing.T) {
	without := edit(t, goodKey, "  environment: live\n", "")
	update(t, "apikeys", without, map[string]change{
		"added": {"displayName: CI/CD Pipeline", "environment: live", "environment is immutable"},
	})
}

func TestAPIKeyPolicyOnCreation(t *testing.T) {
	const format, rule, host = "{encoding: Hex, length: 48}", "anonymous: true", `"*.stepsies.com"`
	create(t, "apikeypolicies", goodPolicy, map[string]change{
		"good":                             {"sk_live_", "sk_live_", ""},
		"hex of 128 bits":                  {format, "{encoding: Hex, length: 32}", ""},
		"hex of 124 bits":                  {format, "{encoding: Hex, length: 31}", "128 random bits"},
		"base62 of 130 bits":               {format, "{encoding: Base62, length: 22}", ""},
		"base62 of 125 bits":               {format, "{encoding: Base62, length: 21}", "length"},
		"a length past all measure":        {format, "{encoding: Hex, length: 99999999999}", "length"},
		"unknown encoding":                 {format, "{encoding: Base64, length: 48}", "Base64"},
		"no environment":                   {"[{name: live, prefix: sk_live_}, {name: test, prefix: sk_test_}]", "[]", "environments"},
		"a duplicate environment":          {"{name: test, prefix: sk_test_}", "{name: live, prefix: sk_test_}", "Duplicate"},
		"a prefix that begins another":     {"prefix: sk_test_", "prefix: sk_", "beginning of another"},
		"the same prefix twice":            {"prefix: sk_test_", "prefix: sk_live_", "beginning of another"},
		"a prefix with a blank":            {"prefix: sk_test_", `prefix: "sk test"`, "prefix"},
		"an empty prefix":                  {"prefix: sk_test_", `prefix: ""`, "prefix"},
		"a duplicate scope":                {"{name: write}", "{name: read}", "Duplicate"},
		"a scope includes no scope":        {"includes: [read, write]", "includes: [read, delete]", "includes names a scope"},
		"a rule with no such scope":        {"scopes: [read]}\n  - {paths", "scopes: [delete]}\n  - {paths", "does not declare"},
		"any of no such scope":             {"anyScope: [write, admin]", "anyScope: [write, delete]", "does not declare"},
		"a grant of no such scope":         {"scopes: [read], environments", "scopes: [delete], environments", "does not declare"},
		"a grant that requires an end":     {"environments: [live], plans", "requireExpiry: true, plans", ""},
		"a granted life":                   {"environments: [live], plans", "maxTTL: 2160h, plans", ""},
		"a granted life in parts":          {"environments: [live], plans", "maxTTL: 1h30m5s, plans", ""},
		"a granted life of a second":       {"environments: [live], plans", "maxTTL: 1s, plans", ""},
		"a granted life of nothing":        {"environments: [live], plans", `maxTTL: "", plans`, "maxTTL"},
		"a granted life of zero":           {"environments: [live], plans", "maxTTL: 0h0m0s, plans", "at least a second"},
		"a granted life in days":           {"environments: [live], plans", "maxTTL: 90d, plans", "maxTTL"},
		"a granted life below zero":        {"environments: [live], plans", "maxTTL: -1h, plans", "maxTTL"},
		"a granted life below a second":    {"environments: [live], plans", "maxTTL: 500ms, plans", "maxTTL"},
		"a granted life past all measure":  {"environments: [live], plans", "maxTTL: 9999999999999h, plans", "maxTTL"},
		"a granted life as a number":       {"environments: [live], plans", "maxTTL: 90, plans", "maxTTL"},
		"a word for requireExpiry":         {"environments: [live], plans", `requireExpiry: "yes", plans`, "requireExpiry"},
		"a grant of no such environment":   {"environments: [live], plans", "environments: [prod], plans", "does not declare"},
		"a rule with none of the four":     {", " + rule, "", "exactly one of"},
		"a rule with two of the four":      {rule, "anonymous: true, anyKey: true", "exactly one of"},
		"a rule with scopes and any":       {"anyScope: [write, admin]", "anyScope: [write], scopes: [admin]", "exactly one of"},
		"a rule that is not anonymous":     {rule, "anonymous: false", "anonymous"},
		"a rule with no scope in its list": {"anyScope: [write, admin]", "anyScope: []", "anyScope"},
		"a rule without a path":            {`paths: ["/x"]`, "paths: []", "paths"},
		"no rule":                          {goodPolicy[strings.Index(goodPolicy, "  rules:"):strings.Index(goodPolicy, "  upstream:")], "  rules: []\n", "rules"},
		"a method in lower case":           {"methods: [POST]", "methods: [post]", "methods"},
		"a method with a blank":            {"methods: [POST]", `methods: ["POST "]`, "methods"},
		"a method of one's own":            {"methods: [POST]", "methods: [PROPFIND, VERSION-CONTROL]", ""},
		"a duplicate method":               {"methods: [POST]", "methods: [POST, POST]", "Duplicate"},
		"a duplicate path":                 {`paths: ["/x"]`, `paths: ["/x", "/x"]`, "Duplicate"},
		"a path without its slash":         {`paths: ["/x"]`, `paths: ["x"]`, "paths"},
		"an empty path":                    {`paths: ["/x"]`, `paths: [""]`, "paths"},
		"a path with two slashes":          {`paths: ["/x"]`, `paths: ["/x//y"]`, "paths"},
		"a path with a query":              {`paths: ["/x"]`, `paths: ["/x?y"]`, "paths"},
		"a path with a semicolon":          {`paths: ["/x"]`, `paths: ["/x;y"]`, "paths"},
		"a path with a backslash":          {`paths: ["/x"]`, `paths: ['/x\y']`, "paths"},
		"a path with a star":               {`paths: ["/x"]`, `paths: ["/*"]`, ""},
		"a path with dots":                 {`paths: ["/x"]`, `paths: ["/x/../y"]`, "'.' or '..'"},
		"a path that ends in a dot":        {`paths: ["/x"]`, `paths: ["/x/."]`, "'.' or '..'"},
		"a path with a file of dots":       {`paths: ["/x"]`, `paths: ["/x/.well-known/a..b"]`, ""},
		"a path with a broken escape":      {`paths: ["/x"]`, `paths: ["/x%2"]`, "paths"},
		"a rest that is not last":          {`paths: ["/x"]`, `paths: ["/{rest...}/x"]`, "paths"},
		"a part of a segment as a name":    {`paths: ["/x"]`, `paths: ["/x{id}"]`, "paths"},
		"a name that is none":              {`paths: ["/x"]`, `paths: ["/{}"]`, "paths"},
		"a base path with a slash behind":  {"basePath: /v1", "basePath: /v1/", "basePath"},
		"a base path with a name":          {"basePath: /v1", "basePath: '/{v}'", "basePath"},
		"a base path with dots":            {"basePath: /v1", "basePath: /v1/..", "'.' or '..'"},
		"a host in upper case":             {host, "API.stepsies.com", "hosts"},
		"a host with a port":               {host, `"api.stepsies.com:443"`, "hosts"},
		"a host with a star inside":        {host, `"api.*.com"`, "hosts"},
		"only a star":                      {host, `"*"`, "hosts"},
		"a host with a dot behind":         {host, `"api.stepsies.com."`, "hosts"},
		"a duplicate host":                 {host, "api.stepsies.com", "Duplicate"},
		"no grant in the list":             {goodPolicy[strings.Index(goodPolicy, "  grants:"):strings.Index(goodPolicy, "  credentials:")], "  grants: []\n", "grants"},
		"a selector with All":              {"from: All}", "from: All, selector: {}}", "selector goes with"},
		"Selector without a selector":      {"from: All}", "from: Selector}", "selector goes with"},
		"a credential twice":               {"X-API-Key", "authorization", "same place"},
		"a credential in a host":           {"X-API-Key", "Host", "belongs to the protocol"},
		"a credential in Envoy's header":   {"X-API-Key", "X-Envoy-Key", "belongs to the protocol"},
		"a credential with an underscore":  {"X-API-Key", "x_api_key", "name"},
		"a scheme with a blank":            {"scheme: Bearer", `scheme: "Bearer "`, "scheme"},
		"an upstream prefix of Envoy's":    {"x-caller-", "x-envoy-caller-", "x-envoy-"},
		"an upstream prefix of proxies":    {"x-caller-", "x-forwarded-", "x-forwarded-"},
		"an upstream prefix of ids":        {"x-caller-", "x-request-", "x-request-"},
		"an upstream prefix without x":     {"x-caller-", "caller-", "prefix"},
		"an upstream prefix in upper case": {"x-caller-", "X-Caller-", "prefix"},
		"a content type with a newline":    {"application/json", `"application/json\r\nx: y"`, "contentType"},
		"a content type with a charset":    {"application/json", `"application/json; charset=utf-8"`, ""},
		"docs that are no URL":             {"https://docs.stepsies.com/auth?a=b#c", "javascript:x", "docs"},
		"unknown field":                    {"basePath: /v1", "basepath: /v1", "basepath"},

		"an id":                             {format, "{encoding: Hex, length: 48, idLength: 32}", ""},
		"an id that is too long":            {format, "{encoding: Hex, length: 48, idLength: 33}", "idLength"},
		"an id below zero":                  {format, "{encoding: Hex, length: 48, idLength: -1}", "idLength"},
		"a credential in no place":          {"query: {name: api_key}", "{}", "either a header or a query parameter"},
		"a credential in two places":        {"query: {name: api_key}", "{query: {name: api_key}, header: {name: X-Key}}", "either a header or a query parameter"},
		"a query parameter twice":           {"query: {name: api_key}", "query: {name: api_key}\n  - query: {name: api_key}", "same place"},
		"query parameters of two cases":     {"query: {name: api_key}", "query: {name: api_key}\n  - query: {name: API_key}", ""},
		"a query parameter like a header":   {"query: {name: api_key}", "query: {name: X-API-Key}", ""},
		"a query parameter with an escape":  {"query: {name: api_key}", `query: {name: "api%5Fkey"}`, "name"},
		"a query parameter with an &":       {"query: {name: api_key}", `query: {name: "a&b"}`, "name"},
		"a query parameter without a name":  {"query: {name: api_key}", `query: {name: ""}`, "name"},
		"a grant of no such plan":           {"plans: [sandbox]}", "plans: [gold]}", "a grant names a plan"},
		"a grant of no plans":               {"plans: [sandbox]}", "plans: []}", "plans"},
		"an environment of no such plan":    {"prefix: sk_test_}", "prefix: sk_test_, plan: gold}", "an environment names a plan"},
		"an environment of a plan":          {"prefix: sk_test_}", "prefix: sk_test_, plan: sandbox}", ""},
		"a rule of no such plan":            {"plan: business, cost", "plan: gold, cost", "a rule names a plan"},
		"an anonymous rule with a plan":     {rule, "anonymous: true, plan: sandbox", "an anonymous rule asks for no plan"},
		"a plan that includes no such plan": {"includes: [sandbox]", "includes: [gold]", "includes names a plan"},
		"no such default plan":              {"defaultPlan: sandbox", "defaultPlan: gold", "defaultPlan names a plan"},
		"no default plan":                   {"  defaultPlan: sandbox\n", "", ""},
		"a duplicate plan":                  {"{name: business,", "{name: sandbox,", "Duplicate"},
		"a plan in upper case":              {"{name: business,", "{name: Business,", "name"},
		"a plan without limits":             {", limits: [{requests: 100, per: 1h}]", "", ""},
		"a plan of no limits":               {"[{requests: 100, per: 1h}]", "[]", "limits"},
		"a limit of no requests":            {"requests: 100,", "requests: 0,", "requests"},
		"a limit of too many requests":      {"requests: 100,", "requests: 1000000001,", "requests"},
		"a limit of half a request":         {"requests: 100,", "requests: 0.5,", "requests"},
		"a limit without a time":            {"{requests: 100, per: 1h}", "{requests: 100}", "per"},
		"a limit per nothing":               {"per: 1h", `per: ""`, "per must be a duration"},
		"a limit per zero":                  {"per: 1h", "per: 0h0s", "per must be a duration"},
		"a limit per half a second":         {"per: 1h", "per: 0.5s", "per"},
		"a limit per 500 ms":                {"per: 1h", "per: 500ms", "per"},
		"a limit per 366 days":              {"per: 1h", "per: 8784h", ""},
		"a limit per more than 366 days":    {"per: 1h", "per: 8784h1s", "per must be a duration"},
		"two limits per the same time":      {"per: 1m}]", "per: 1m}, {requests: 5, per: 1m}]", "Duplicate"},
		"two limits per equal times":        {"per: 1m}]", "per: 1m}, {requests: 5, per: 60s}]", "two limits are per the same time"},
		"four limits":                       {"per: 1m}]", "per: 1m}, {requests: 5, per: 2m}, {requests: 5, per: 3m}]", ""},
		"five limits":                       {"per: 1m}]", "per: 1m}, {requests: 5, per: 2m}, {requests: 5, per: 3m}, {requests: 5, per: 4m}]", "limits"},
		"a cost of nothing":                 {"cost: 10", "cost: 0", ""},
		"a cost below zero":                 {"cost: 10", "cost: -1", "cost"},
		"a cost that is too high":           {"cost: 10", "cost: 1000001", "cost"},
		"an unknown preflight":              {"preflight: Allow", "preflight: Maybe", "Maybe"},
		"an unknown limit failure":          {"FailOpen", "FailSoft", "FailSoft"},
		"TLS, perhaps":                      {"requireTLS: true", "requireTLS: perhaps", "requireTLS"},
		"an error header in upper case":     {"name: x-support", "name: X-Support", "name"},
		"an error header of Keygate's":      {"name: x-support", "name: retry-after", "set by Keygate"},
		"an error header of Envoy's":        {"name: x-support", "name: x-envoy-support", "set by Keygate"},
		"an error header that is empty":     {`value: "mail us"`, `value: ""`, "value"},
		"an error header of two lines":      {`value: "mail us"`, `value: "mail\r\nus: now"`, "value"},
		"an error header twice":             {"{name: x-support,", "{name: x-support, value: a}, {name: x-support,", "Duplicate"},
	})
}

func TestAPIKeyPolicyOnUpdate(t *testing.T) {
	const environments = "[{name: live, prefix: sk_live_}, {name: test, prefix: sk_test_}]"
	update(t, "apikeypolicies", goodPolicy, map[string]change{
		"rules":                           {"anonymous: true", "anyKey: true", ""},
		"hosts":                           {`, "*.stepsies.com"`, "", ""},
		"an environment more":             {environments, environments[:len(environments)-1] + ", {name: dev, prefix: sk_dev_}]", ""},
		"environments reordered":          {environments, "[{name: test, prefix: sk_test_}, {name: live, prefix: sk_live_}]", ""},
		"an environment less":             {", {name: test, prefix: sk_test_}", "", "never changed or removed"},
		"another prefix":                  {"sk_test_", "sk_dev_", "never changed or removed"},
		"an environment renamed":          {"name: test", "name: dev", "never changed or removed"},
		"another encoding":                {"encoding: Hex", "encoding: Base62", "keyFormat is immutable"},
		"another length":                  {"length: 48", "length: 64", "keyFormat is immutable"},
		"an id":                           {"length: 48", "length: 48, idLength: 6", "keyFormat is immutable"},
		"a fixed plan":                    {"prefix: sk_test_}", "prefix: sk_test_, plan: sandbox}", "never changed or removed"},
		"an environment more with a plan": {environments, environments[:len(environments)-1] + ", {name: dev, prefix: sk_dev_, plan: sandbox}]", ""},
		"another default plan":            {"defaultPlan: sandbox", "defaultPlan: business", ""},
		"another limit":                   {"requests: 100,", "requests: 200,", ""},
		"the length removed":              {", length: 48", "", "keyFormat is immutable"},
		"the key format removed":          {"  keyFormat: {encoding: Hex, length: 48}\n", "", "keyFormat is immutable"},
		"a shorter secret, twice":         {"{encoding: Hex, length: 48}", "{encoding: Hex, length: 16}", "length"},
	})
}
