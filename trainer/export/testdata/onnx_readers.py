"""Opens exported ONNX files as their users would, with the checker of onnx and in ONNX Runtime for Python.

onnx_readers.py check FILE...
onnx_readers.py run MODEL INPUT N,C,H,W OUTPUT [MODEL INPUT ...]   checks the model too; input and output are raw float32 files
"""
import sys

import numpy
import onnx
import onnxruntime


def check(*paths):
    for path in paths:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        assert [o.version for o in model.opset_import] == [13]
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
        logits = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output[0].type.tensor_type.shape
        assert logits == model.graph.output[0].type.tensor_type.shape, "the shape that follows is not the one that is declared"


def run(*args):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    for model, source, shape, target in zip(*[iter(args)] * 4):
        check(model)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        x = numpy.fromfile(source, dtype="<f4").reshape([int(n) for n in shape.split(",")])
        session.run(["logits"], {"input": x})[0].tofile(target)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
