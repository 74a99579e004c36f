package trainer

// Weights say which trained weights Evaluate and Predict use.
type Weights struct {
	// Checkpoint in the job's folder: "best", "latest", or the name of one. "" is "best".
	Checkpoint string
	// ModelFile is a model.safetensors on this machine; it takes the place of a checkpoint.
	ModelFile string
}
