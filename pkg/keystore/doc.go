// Package keystore knows every key of the installation: whether a digest belongs
// to one, and the record by which its callers are judged.
//
// It is fed by one watch of the keys namespace. An index holds every digest with
// the resourceVersion of its record; a bounded cache holds records. What is not in
// the index is no key, and costs no call to anyone. What is in the index but not in
// the cache is read from the API server, once for all who ask at a time.
//
// It defends against an outage that looks like absence (last good state is kept,
// and a record that can't be read is an error), against going back in time (every
// list is a consistent read; the newer resourceVersion wins, whoever brings it),
// against events that never arrive (a periodic list finds them), and against who
// can write the keys namespace but lacks the seal key (an unsound seal changes
// nothing).
package keystore
