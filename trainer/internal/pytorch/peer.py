"""What the Go tests compare with: each function maps (params, tensors) to tensors, by plain PyTorch."""
import json
import struct
import sys

import torch
from torch import nn
from torch.nn import functional as F

DTYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "U8": torch.uint8}


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, cin, classes, widths):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        previous = widths[0]
        for i, w in enumerate(widths):
            blocks = [BasicBlock(previous, w, 1 if i == 0 else 2), BasicBlock(w, w, 1)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            previous = w
        self.fc = nn.Linear(previous, classes)
        self.stages = len(widths)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def make_network(p):
    torch.manual_seed(p["seed"])
    return ResNet(p["channels"], p["classes"], p["widths"]).to(memory_format=torch.channels_last)


def normalise(p, pixels):
    """torchvision's ToTensor and Normalize of NHWC bytes."""
    mean, std = (torch.tensor(p[k]).view(-1, 1, 1) for k in ("mean", "std"))
    x = pixels.permute(0, 3, 1, 2).float().div(255)
    return x.sub(mean).div(std).contiguous(memory_format=torch.channels_last)


def network(p, t):
    """Initial weights, images, and logits in training and in evaluation, in float32 and bfloat16."""
    net = make_network(p)
    out = {"init." + k: v.clone() for k, v in net.state_dict().items()}
    x = out["images"] = normalise(p, t["pixels"])
    for bf16 in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            net.load_state_dict({k[5:]: v for k, v in out.items() if k.startswith("init.")})
            dtype = "bf16" if bf16 else "fp32"
            out[dtype + ".train"] = net.train()(x).float()
            out.update({f"{dtype}.after.{k}": v.clone() for k, v in net.state_dict().items()})
            out[dtype + ".eval"] = net.eval()(x).float()
    return out


def linear_adamw(p, t):
    """AdamW on a linear classifier; a scheduler would set lr and beta1 anew in every step, as here."""
    weight, bias = (t[k].clone().requires_grad_() for k in ("weight", "bias"))
    opt = torch.optim.AdamW([weight, bias], betas=(0.9, p["beta2"]), eps=p["eps"], weight_decay=p["weight_decay"])
    losses = []
    for lr, beta1 in zip(p["lrs"], p["beta1s"]):
        opt.param_groups[0].update(lr=lr, betas=(beta1, p["beta2"]))
        opt.zero_grad(set_to_none=True)
        loss = F.cross_entropy(F.linear(t["x"], weight, bias), t["labels"], label_smoothing=p["label_smoothing"])
        loss.backward()
        opt.step()
        losses.append(loss.item())
    out = {"losses": torch.tensor(losses), "weight": weight.detach(), "bias": bias.detach()}
    for name, param in (("weight", weight), ("bias", bias)):
        out["exp_avg." + name] = opt.state[param]["exp_avg"]
        out["exp_avg_sq." + name] = opt.state[param]["exp_avg_sq"]
    return out


def one_cycle(p, t):
    """lr and beta1 of every step."""
    opt = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], betas=(0.9, 0.999))
    sched = torch.optim.lr_scheduler.OneCycleLR(
        opt, p["max_lr"], total_steps=p["steps"], pct_start=float(p["pct_start"]),
        div_factor=p["div_factor"], final_div_factor=p["final_div_factor"])
    rows = []
    for i in range(p["steps"]):
        group = opt.param_groups[0]
        rows.append([group["lr"], group["betas"][0]])
        opt.step()
        if i < p["steps"] - 1:
            sched.step()
    return {"schedule": torch.tensor(rows, dtype=torch.float64)}


def train(p, t):
    """The whole loop, on given batches: pixels steps×N×H×W×C, labels steps×N."""
    net = make_network(p).train()
    opt = torch.optim.AdamW(net.parameters(), weight_decay=p["weight_decay"])
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, p["max_lr"], total_steps=p["steps"])
    losses = []
    for i in range(p["steps"]):
        opt.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=p["bf16"]):
            logits = net(normalise(p, t["pixels"][i]))
            loss = F.cross_entropy(logits, t["labels"][i], label_smoothing=p["label_smoothing"])
        loss.backward()
        opt.step()
        losses.append(loss.item())
        if i < p["steps"] - 1:
            sched.step()
    return {"losses": torch.tensor(losses, dtype=torch.float64), **net.state_dict()}


def read(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    tensors = {}
    for name, h in header.items():
        if name != "__metadata__":
            begin, end = h["data_offsets"]
            tensors[name] = torch.frombuffer(bytearray(data[begin:end]), dtype=DTYPES[h["dtype"]]).view(h["shape"])
    return tensors


def write(path, tensors):
    names, header, blobs, offset = {v: k for k, v in DTYPES.items()}, {}, [], 0
    for name, t in tensors.items():
        blob = t.detach().contiguous().numpy().tobytes()
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(encoded)) + encoded + b"".join(blobs))


if __name__ == "__main__":
    function, params, source, target = sys.argv[1:]
    write(target, globals()[function](json.loads(params), read(source)))
