// Package checkpoint saves training state and resumes it, so that a crash at any moment, a lost answer of the storage,
// or a pod that lives on after it was replaced cannot lose or mix up state.
//
// # Layout, below the job's folder
//
//	checkpoints/<epoch>-<step>-a<attempt>/model.safetensors
//	checkpoints/<epoch>-<step>-a<attempt>/state.safetensors
//	checkpoints/<epoch>-<step>-a<attempt>/manifest.json
//	latest.json
//	best.json
//
// manifest.json is written after the blobs and holds their sizes and SHA-256 sums: a checkpoint is complete if it has a
// manifest and the sums agree. latest.json names the checkpoint to resume from, the best one, and its owner. best.json
// repeats the name of the best one for people and tools; this package never decides by it.
//
// # Protocol
//
// The owner of latest.json is a process: an attempt number and a random text. Open reads latest.json, ends with exit
// code 74 if a newer attempt is its owner, and else replaces the owner, keeping the checkpoint: a conditional PUT on the
// ETag it has read. Save writes the blobs and the manifest to keys that only this attempt uses, and then replaces
// latest.json by a conditional PUT on the ETag of its own last write. Only then is best.json replaced, in the same way,
// and only then are old checkpoints deleted: all but this one, the one before it, and the best.
//
// A refused PUT (412) is looked into by reading the object: it may be our own write whose answer was lost. If it has
// another owner, this process is fenced (exit code 74). Every content of a pointer is written only once (it holds the
// owner's random text and the checkpoint's name), so an ETag never comes back and a PUT that was under way for a long
// time cannot succeed late.
//
// # Guarantees
//
//   - From the moment Open returns, no process that opened earlier can move a pointer, also one that has not noticed
//     yet. Its next Save ends with exit code 74. What it still can do is write blobs under its own attempt's names,
//     which later saves of the owner clean up, and finish deleting what was old before it was fenced.
//   - A pointer never names an incomplete checkpoint.
//   - After Save returned nil, Resume of any later attempt returns that checkpoint or one after it.
//   - After Save returned another error than 74, the checkpoint may or may not have been committed.
//
// They rest on the storage's promise of read-after-write and of conditional PUT (S3, MinIO, and the folder backend on a
// file system with flock and rename); Open tries whether an S3 server keeps it (store.Probe). Blobs damaged later are found by their sums; Resume then falls back to the newest
// checkpoint that verifies, and starts anew if there is none.
package checkpoint
