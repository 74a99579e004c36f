//go:build !cuda && !nogloo

package collective

// OnGPU says whether groups compute on GPUs.
const OnGPU = false
