// Package reconcile is the controller: it turns APIKeys and APIKeyPolicies into
// sealed Secrets of the keys namespace, and hands every token over once.
//
// What ought to be is computed by a pure function, decide, from the facts; the
// rest is thin edges that read the facts and write the difference. Minting is
// the one thing that is more than a difference, and has its own file.
//
// It defends against crashes at any write and two controllers at once (one live
// token per serial), against who may write the keys namespace but lacks the seal
// key (what was changed is put back), and against tenants with every right in
// their own namespace: no status is ever read back, no tenant's Secret is ever
// read, and none is written that the APIKey does not own.
package reconcile
