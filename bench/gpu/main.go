// Command gpu is a shared library (go build -buildmode=c-shared) for gpu.py: the C face of package libtorch, with its kernels.
package main

import _ "github.com/resnet-operator/resnet-operator/trainer/libtorch"

func main() {}
