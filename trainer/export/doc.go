// Package export writes trained networks in the formats that other programs open, and reads weights that others wrote.
//
//   - model.safetensors and model.pt hold the state dict with torchvision's names;
//   - model.onnx is the graph for inference (opset 13), batch normalisation folded into the convolutions;
//   - model.int8.onnx is the same graph in 8 bits, for what its runtime can compute so;
//   - model.json, the model card, says what the model is and how to feed it.
//
// The same model gives the same bytes. The package is plain Go: it needs no libtorch.
package export
