package v1alpha1

// Condition types.
const (
	// ConditionReady of an APIKey is True while callers are let in with it.
	ConditionReady = "Ready"
	// ConditionDelivered of an APIKey is True once its token was put into the
	// delivery Secret, and stays so after the Secret is gone. Of a key that was made
	// elsewhere it is True once that is registered: its holder has it.
	ConditionDelivered = "Delivered"
	// ConditionExpiringSoon of an APIKey with an expiresAt is True in the time before
	// that. A key that was revoked has none.
	ConditionExpiringSoon = "ExpiringSoon"
	// ConditionRotatingSoon of an APIKey with rotation.every is True in the time before
	// its token is replaced by itself.
	ConditionRotatingSoon = "RotatingSoon"
	// ConditionAccepted of an APIKeyPolicy is True while its newest spec is the
	// one that requests are judged by.
	ConditionAccepted = "Accepted"
	// ConditionHostsClaimed of an APIKeyPolicy is True while every host that it
	// names is decided by it.
	ConditionHostsClaimed = "HostsClaimed"
)

// Reasons of an APIKey's Ready condition.
const (
	// ReasonActive: the key works.
	ReasonActive = "Active"
	// ReasonPending: the token is being minted or delivered.
	ReasonPending = "Pending"
	// ReasonExpired: spec.expiresAt has passed.
	ReasonExpired = "Expired"
	// ReasonSuspended: spec.state is Suspended.
	ReasonSuspended = "Suspended"
	// ReasonRevoked: spec.state is Revoked, for good.
	ReasonRevoked = "Revoked"
	// ReasonPolicyNotFound: there is no such policy, or it grants this namespace
	// nothing; the two read alike, so that names cannot be probed.
	ReasonPolicyNotFound = "PolicyNotFound"
	// ReasonPolicyNotAccepted: the policy exists, but none of its specs could be
	// put to use yet.
	ReasonPolicyNotAccepted = "PolicyNotAccepted"
	// ReasonScopesNotGranted: some scope asked for is not declared or not granted.
	ReasonScopesNotGranted = "ScopesNotGranted"
	// ReasonEnvironmentNotGranted: the environment is not declared or not granted.
	ReasonEnvironmentNotGranted = "EnvironmentNotGranted"
	// ReasonPlanNotGranted: the plan is not declared, not granted, or not to be chosen
	// in the key's environment.
	ReasonPlanNotGranted = "PlanNotGranted"
	// ReasonLifetimeNotGranted: the policy grants no keys that live as long.
	ReasonLifetimeNotGranted = "LifetimeNotGranted"
	// ReasonRotatingSoon: spec.rotation.every replaces the token before long.
	ReasonRotatingSoon = "RotatingSoon"
	// ReasonScheduled: spec.rotation.every replaces the token, but not yet.
	ReasonScheduled = "Scheduled"
	// ReasonDuplicateKey: another APIKey has the key of this sha256, or had it when it
	// was revoked.
	ReasonDuplicateKey = "DuplicateKey"
	// ReasonDeliveryConflict: the delivery Secret's name is taken by a Secret that
	// this APIKey does not own.
	ReasonDeliveryConflict = "DeliveryConflict"
	// ReasonDeliveryFailed: the API server refused the delivery Secret for another
	// reason, such as a quota or an admission policy.
	ReasonDeliveryFailed = "DeliveryFailed"
	// ReasonRecordInvalid: the stored record carries no valid seal and cannot be
	// rebuilt.
	ReasonRecordInvalid = "RecordInvalid"
)

// Reasons of an APIKey's Delivered condition, besides [ReasonDeliveryConflict],
// [ReasonDeliveryFailed] and [ReasonPending].
const (
	// ReasonDelivered: the token waits in the delivery Secret.
	ReasonDelivered = "Delivered"
	// ReasonHandedOver: the token was delivered once and its Secret is gone.
	ReasonHandedOver = "HandedOver"
	// ReasonRegistered: the key was made elsewhere, and is registered.
	ReasonRegistered = "Registered"
	// ReasonNothingIssued: no token was minted, and none will be as things stand.
	ReasonNothingIssued = "NothingIssued"
)

// Reasons of an APIKey's ExpiringSoon condition, besides [ReasonExpired].
const (
	// ReasonExpiresSoon: spec.expiresAt is near.
	ReasonExpiresSoon = "ExpiresSoon"
	// ReasonExpiresLater: there is time yet.
	ReasonExpiresLater = "ExpiresLater"
)

// Reasons of an APIKeyPolicy's conditions.
const (
	// ReasonAccepted: the newest spec is in force.
	ReasonAccepted = "Accepted"
	// ReasonInvalid: the newest spec cannot be compiled; the last good one stays
	// in force.
	ReasonInvalid = "Invalid"
	// ReasonTooLarge: the spec is larger than one Secret can hold.
	ReasonTooLarge = "TooLarge"
	// ReasonClaimed: every host is this policy's.
	ReasonClaimed = "Claimed"
	// ReasonNoHosts: the policy names no host; it is reached by name only.
	ReasonNoHosts = "NoHosts"
	// ReasonHostConflict: an older policy claims one of the hosts.
	ReasonHostConflict = "HostConflict"
	// ReasonNamespaceNotAllowed: policies of this namespace may not claim hosts;
	// the policy is reached by name only.
	ReasonNamespaceNotAllowed = "NamespaceNotAllowed"
)
