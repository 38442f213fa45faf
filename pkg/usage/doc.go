// Package usage tells who uses keys: in the status of each APIKey, when it was last
// used, and in the audit log, who still calls with a key that is dead.
//
// A [Collector] takes notes on the path of requests, and costs them nothing that can
// be measured: a look into a table in memory. A [Writer] writes the notes to the API
// server, as slowly as it is told, however many requests and replicas there are. Both
// are bounded in memory, and lose notes rather than hold up a decision.
package usage
