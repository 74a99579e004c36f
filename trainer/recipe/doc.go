// Package recipe says what a training does, step by step and epoch by epoch. It computes with plain numbers: no tensor,
// no clock, no storage. So whatever it decides is the same in an attempt that was resumed.
package recipe
