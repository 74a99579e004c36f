"""Opens exported models as their users would, in PyTorch and torchvision.

peer.py logits DIR...   each with spec.json, model.pt, model.safetensors and input.f32 → pt.f32, and exact.f32 computed in float64
peer.py write DIR       saves a network in every way that torch.save is used, and expected.safetensors
"""
import json
import os
import struct
import sys
from collections import OrderedDict
from functools import partial

import numpy
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

ACTIVATIONS = {"ReLU": nn.ReLU, "LeakyReLU": nn.LeakyReLU, "SiLU": nn.SiLU, "GELU": nn.GELU, "Hardswish": nn.Hardswish}
BLOCKS = {"ResNet18": (BasicBlock, [2, 2, 2, 2]), "ResNet34": (BasicBlock, [3, 4, 6, 3]), "ResNet50": (Bottleneck, [3, 4, 6, 3]),
          "ResNet101": (Bottleneck, [3, 4, 23, 3]), "ResNet152": (Bottleneck, [3, 8, 36, 3])}


def norm_layer(spec):
    if spec["normalization"] == "GroupNorm":
        return partial(nn.GroupNorm, spec["groups"])
    if spec["normalization"] == "LayerNorm":
        return partial(nn.GroupNorm, 1)
    return nn.BatchNorm2d


def network(spec):
    """torchvision's network, with the parts replaced that the specification replaces."""
    block, blocks = BLOCKS[spec["architecture"]]
    net = ResNet(block, blocks, num_classes=spec["classes"], norm_layer=norm_layer(spec))
    widths = spec["widths"]
    if spec["stem"] == "CIFAR":
        net.conv1, net.maxpool = nn.Conv2d(spec["channels"], widths[0], 3, 1, 1, bias=False), nn.Identity()
    elif spec["channels"] != 3 or widths[0] != 64:
        net.conv1 = nn.Conv2d(spec["channels"], widths[0], 7, 2, 3, bias=False)
    if widths != [64, 128, 256, 512]:
        net.bn1, net.inplanes = net._norm_layer(widths[0]), widths[0]
        for i, (w, n) in enumerate(zip(widths, blocks)):
            setattr(net, f"layer{i + 1}", net._make_layer(block, w, n, stride=min(i + 1, 2)))
        net.fc = nn.Linear(net.inplanes, spec["classes"])
    for module in net.modules():
        if hasattr(module, "relu"):
            module.relu = ACTIVATIONS[spec["activation"]]()
    return net.eval()


def read_safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    assert header.pop("__metadata__") == {"format": "pt"}
    dtypes = {"F32": torch.float32, "I64": torch.int64}
    return {name: torch.frombuffer(bytearray(data[slice(*h["data_offsets"])]), dtype=dtypes[h["dtype"]]).view(h["shape"])
            for name, h in header.items()}


def write_safetensors(path, tensors):
    header, blobs, offset = {}, [], 0
    for name, t in tensors.items():
        blob = t.contiguous().numpy().tobytes()
        header[name] = {"dtype": {torch.float32: "F32", torch.int64: "I64"}[t.dtype], "shape": list(t.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    encoded = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(encoded)) + encoded + b"".join(blobs))


def logits(folder):
    file = lambda name: os.path.join(folder, name)
    spec = json.load(open(file("spec.json")))
    state = torch.load(file("model.pt"), weights_only=True)
    other = read_safetensors(file("model.safetensors"))
    net = network(spec)
    assert list(state) == list(net.state_dict()), "order of the state dict"
    assert set(state) == set(other) and all(torch.equal(state[k], other[k]) for k in state)
    net.load_state_dict(state, strict=True)
    x = torch.from_numpy(numpy.fromfile(file("input.f32"), dtype="<f4")).view(spec["shape"])
    with torch.no_grad():
        net(x).numpy().tofile(file("pt.f32"))
        net.double()(x.double()).float().numpy().tofile(file("exact.f32"))


def write(folder):
    torch.manual_seed(0)
    spec = {"architecture": "ResNet18", "normalization": "BatchNorm", "activation": "ReLU", "stem": "CIFAR",
            "widths": [8, 16, 32, 64], "channels": 3, "classes": 5}
    net = network(spec)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(), m.running_var.uniform_(0.5, 2), m.num_batches_tracked.fill_(1234567890123)
    state = OrderedDict((k, v.clone()) for k, v in net.state_dict().items())
    write_safetensors(os.path.join(folder, "expected.safetensors"), state)
    cast = lambda dtype: {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    renamed = lambda f: {f(k): v for k, v in state.items()}
    big = torch.cat([v.float().flatten() for v in state.values()])  # one storage for all
    views, offset = {}, 0
    for k, v in state.items():
        views[k] = big[offset:offset + v.numel()].view(v.shape) if v.is_floating_point() else v
        offset += v.numel()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    saved = {
        "plain": state,
        "parameters": {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in state.items()},
        "protocol4": state,
        "views": views,
        "channels_last": {k: v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v for k, v in state.items()},
        "transposed": {k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in state.items()},
        "double": cast(torch.float64), "half": cast(torch.float16), "bfloat16": cast(torch.bfloat16),
        "int32": {k: v if v.is_floating_point() else torch.tensor(1234567, dtype=torch.int32) for k, v in state.items()},
        "state_dict": {"epoch": 3, "loss": 0.5, "arch": "resnet18", "best": None, "state_dict": state, "optimizer": optimizer.state_dict()},
        "model": {"model": state, "seed": 2 ** 70, "device": torch.device("cpu"), "shape": torch.Size([1, 2])},
        "old": {k: nn.Parameter(v) for k, v in state.items() if not k.endswith("num_batches_tracked")},  # before 0.4.1
        "module": renamed(lambda k: "module." + k),
        "compiled": {"model": renamed(lambda k: "module._orig_mod." + k)},
        "kuangliu": {"net": renamed(lambda k: "module." + k.replace("downsample", "shortcut").replace("fc.", "linear.")), "acc": 93.02},
        # and what must be refused
        "bad_module": net,
        "bad_list": list(state.values()),
        "bad_numpy": {"state_dict": state, "acc": numpy.float64(0.5)},
        "bad_nothing": {"epoch": 3},
        "bad_sparse": {"w": torch.eye(3).to_sparse()},
        "bad_expanded": {"w": torch.zeros(1).expand(1 << 40)},
        "bad_complex": {"w": torch.zeros(3, dtype=torch.complex64)},
    }
    for name, value in saved.items():
        save_to(folder, name, value, pickle_protocol=4 if name == "protocol4" else 2)
    save_to(folder, "bad_legacy", state, _use_new_zipfile_serialization=False)
    torch.jit.trace(net, torch.zeros(1, 3, 8, 8)).save(os.path.join(folder, "bad_script.pt"))


def save_to(folder, name, value, **options):
    torch.save(value, os.path.join(folder, name + ".pt"), **options)


if __name__ == "__main__":
    command, *folders = sys.argv[1:]
    torch.set_num_threads(2)
    for folder in folders:
        globals()[command](folder)
