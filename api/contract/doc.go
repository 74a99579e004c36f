// Package contract is what the manager and the trainer agree on, beside the API types: exit codes, the progress
// record, the termination message, and where things lie in the pod and in the bucket. It depends on neither of them.
package contract
