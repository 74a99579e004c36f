//go:build cuda

package collective

// OnGPU says whether groups compute on GPUs.
const OnGPU = true
