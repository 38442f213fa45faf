package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"
)

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
