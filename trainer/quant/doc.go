// Package quant maps real numbers to integers of 8 bits, as int8 models have them: activations to uint8 by a scale and a
// zero point for each tensor, weights to int8 by a scale for each output channel. The rules are those of torch.ao's
// observers, rounding included. The package is plain Go: it needs no libtorch.
package quant
