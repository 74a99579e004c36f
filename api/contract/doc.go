// Package contract is what the manager and the trainer agree on, beside the API types: exit codes, the progress
// record, the termination message, and where things lie in the pod and in the bucket. It depends on neither of them.
package contract

// OldestKubernetes is the oldest release that has all that the CRD needs: CEL's format library, and selectable fields.
const OldestKubernetes = "1.32"
