"""What the Go tests compare with: each function maps (params, tensors) to tensors, by plain PyTorch."""
import copy
import json
import struct
import sys

import torch
from torch import nn
from torch.ao.quantization import fake_quantize, observer
from torch.nn import functional as F

DTYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "U8": torch.uint8}


ACTIVATIONS = {"ReLU": F.relu, "LeakyReLU": F.leaky_relu, "SiLU": F.silu, "GELU": F.gelu, "Hardswish": F.hardswish}


class GroupNorm(nn.GroupNorm):
    """On CUDA autocast runs it in float32; on a CPU, PyTorch 1.13 cannot do it on bfloat16."""

    def forward(self, x):
        return super().forward(x.to(self.weight.dtype))


def norm(p, channels):
    return GroupNorm(p["groups"], channels) if p["groups"] else nn.BatchNorm2d(channels)


EXPANSION = 4  # torchvision's Bottleneck.expansion


def convolutions(p, cin, width, stride):
    """(input channels, output channels, kernel, stride) of torchvision's Bottleneck or BasicBlock."""
    if p["bottleneck"]:
        return [(cin, width, 1, 1), (width, width, 3, stride), (width, EXPANSION * width, 1, 1)]
    return [(cin, width, 3, stride), (width, width, 3, 1)]


class Block(nn.Module):
    def __init__(self, p, cin, width, stride, downsample):
        super().__init__()
        self.layers = []
        for i, (c, out, kernel, s) in enumerate(convolutions(p, cin, width, stride), 1):
            self.layers.append((f"conv{i}", f"bn{i}"))
            setattr(self, f"conv{i}", nn.Conv2d(c, out, kernel, s, kernel // 2, bias=False))
            setattr(self, f"bn{i}", norm(p, out))
        self.downsample = downsample
        self.activation = ACTIVATIONS[p["activation"]]

    def last_norm(self):
        return getattr(self, self.layers[-1][1])

    def forward(self, x):
        out = x
        for i, (conv, bn) in enumerate(self.layers):
            out = getattr(self, bn)(getattr(self, conv)(self.activation(out) if i else out))
        return self.activation(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """torchvision's ResNet with what it lacks: another stem, widths and activation."""

    def __init__(self, p):
        super().__init__()
        widths, self.imagenet = p["widths"], p["imagenet_stem"]
        kernel, stride = (7, 2) if self.imagenet else (3, 1)
        self.conv1 = nn.Conv2d(p["channels"], widths[0], kernel, stride, kernel // 2, bias=False)
        self.bn1 = norm(p, widths[0])
        previous = widths[0]
        for i, (w, n) in enumerate(zip(widths, p["blocks"])):
            stage = []
            for j in range(n):
                stride = 2 if i > 0 and j == 0 else 1
                downsample = None
                out = EXPANSION * w if p["bottleneck"] else w
                if stride != 1 or previous != out:
                    downsample = nn.Sequential(nn.Conv2d(previous, out, 1, stride, bias=False), norm(p, out))
                stage.append(Block(p, previous, w, stride, downsample))
                previous = out
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        self.fc = nn.Linear(previous, p["classes"])
        self.stages, self.activation = len(widths), ACTIVATIONS[p["activation"]]
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        if p["zero_init_residual"]:
            for m in self.modules():
                if isinstance(m, Block):
                    nn.init.constant_(m.last_norm().weight, 0)

    def forward(self, x):
        x = self.activation(self.bn1(self.conv1(x)))
        if self.imagenet:
            x = F.max_pool2d(x, 3, 2, 1)
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def make_network(p):
    torch.manual_seed(p["seed"])
    if p.get("torchvision"):
        import torchvision
        net = getattr(torchvision.models, p["torchvision"])(num_classes=p["classes"])
    else:
        net = ResNet(p)
    return net.to(memory_format=torch.channels_last)


def normalise(p, pixels):
    """torchvision's ToTensor and Normalize of NHWC bytes."""
    mean, std = (torch.tensor(p[k]).view(-1, 1, 1) for k in ("mean", "std"))
    x = pixels.permute(0, 3, 1, 2).float().div(255)
    return x.sub(mean).div(std).contiguous(memory_format=torch.channels_last)


PRECISIONS = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.float32}  # of weights; bfloat16 is autocast


def network(p, t):
    """Initial weights, images, and logits in training and in evaluation, in every precision."""
    net = make_network(p)
    initial = {k: v.clone() for k, v in net.state_dict().items()}
    out = {"images": normalise(p, t["pixels"]), **{"init." + k: v for k, v in initial.items()}}
    for name in p["precisions"]:
        dtype = PRECISIONS[name]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=name == "bfloat16"):
            net.to(dtype).load_state_dict(initial)
            x = out["images"].to(dtype)
            out[name + ".train"] = net.train()(x).double()
            out.update({f"{name}.after.{k}": v.clone() for k, v in net.state_dict().items()})
            out[name + ".eval"] = net.eval()(x).double()
    return out


def torchvision_network(p, t):
    """Initial weights of a network of torchvision, and their logits in evaluation; and with another stem, for small
    images, that stem's weights and the logits."""
    net = make_network(p).eval()
    out = {"init." + k: v.clone() for k, v in net.state_dict().items()}
    with torch.no_grad():
        out["ImageNet"] = net(normalise(p, t["ImageNet"]))
        net.conv1, net.maxpool = nn.Conv2d(3, net.bn1.num_features, 3, 1, 1, bias=False), nn.Identity()
        return {**out, "conv1.weight": net.conv1.weight, "CIFAR": net(normalise(p, t["CIFAR"]))}


def published(p, t):
    """Saves a network of torchvision to a file, as torchvision publishes them: parameters, without num_batches_tracked.
    Returns its loss."""
    net = make_network(p).eval()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(), m.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        loss = F.cross_entropy(net(normalise(p, t["pixels"])), t["labels"])
    state = {k: nn.Parameter(v) for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, p["file"])
    return {"loss": loss}


def gradients(p, t):
    """The gradients of the loss with respect to the initial weights, in float64, in float32 and in autocast to bfloat16: those of
    each batch of batch_size images, one after the other."""
    out = {}
    for name in p["precisions"]:
        dtype, parts = PRECISIONS[name], {}
        net = make_network(p).train().to(dtype).to(memory_format=torch.channels_last)
        for pixels, labels in zip(t["pixels"].split(p["batch_size"]), t["labels"].split(p["batch_size"])):
            net.zero_grad(set_to_none=True)  # a new tensor for each batch
            with torch.autocast("cpu", torch.bfloat16, enabled=name == "bfloat16"):
                loss = F.cross_entropy(net(normalise(p, pixels).to(dtype)), labels)
            loss.backward()
            for k, w in net.named_parameters():
                parts.setdefault(k, []).append(w.grad.double().flatten())
        out.update({f"{name}.{k}": torch.cat(grads) for k, grads in parts.items()})
    return out


def update_bn(p, t):
    """The running statistics that torch.optim.swa_utils.update_bn computes from batches of images, in float64 and in float32."""
    out = {}
    for name in p["precisions"]:
        dtype = PRECISIONS[name]
        net = make_network(p).to(dtype).to(memory_format=torch.channels_last)
        torch.optim.swa_utils.update_bn((normalise(p, pixels).to(dtype) for pixels in t["pixels"]), net)
        out.update({f"{name}.{k}": v for k, v in net.state_dict().items() if "running" in k})
    return out


def networks(p, t):
    """network for many configurations, at the cost of one process."""
    out = {}
    for name, config in p["configs"].items():
        out.update({f"{name}/{k}": v for k, v in network({**p, **config}, {"pixels": t["pixels." + name]}).items()})
    return out


def in_part(name, part):
    return name == part or name.startswith(part + ".")


def multiplier(p, name):
    """The factor of a parameter's learning rate: that of the longest part in lr_multipliers."""
    found = [part for part in p.get("lr_multipliers") or {} if in_part(name, part)]
    return p["lr_multipliers"][max(found, key=len)] if found else 1


def make_optimizer(p, named):
    """p: type and arguments; without decay_norm_and_bias, parameters of one dimension are not decayed. The learning rate of
    a group is multiplied by its "multiplier"."""
    groups = {}
    for name, w in named:
        decay, factor = p["weight_decay"] if p["decay_norm_and_bias"] or w.dim() > 1 else 0, multiplier(p, name)
        group = groups.setdefault((decay, factor), {"params": [], "weight_decay": decay, "lr": p["lr"] * factor, "multiplier": factor})
        group["params"].append(w)
    groups = list(groups.values())
    if p["type"] == "SGD":
        return torch.optim.SGD(groups, p["lr"], p["momentum"], p["dampening"], p["weight_decay"], p["nesterov"])
    return torch.optim.AdamW(groups, p["lr"], (p["momentum"], p["beta2"]), p["eps"], p["weight_decay"])


def momentum_of(group):
    return group["momentum"] if "momentum" in group else group["betas"][0]


def make_schedule(p, opt):
    """p: type, steps and arguments."""
    lr_scheduler = torch.optim.lr_scheduler
    if p["type"] == "OneCycle":
        args = {**p["args"], "pct_start": float(p["args"]["pct_start"]),
                "max_lr": [p["args"]["max_lr"] * g["multiplier"] for g in opt.param_groups]}
        return lr_scheduler.OneCycleLR(opt, **args, total_steps=p["steps"])
    after = {
        "Cosine": lambda: lr_scheduler.CosineAnnealingLR(opt, p["steps"] - p["warmup"], **p["args"]),
        "CosineWarmRestarts": lambda: lr_scheduler.CosineAnnealingWarmRestarts(opt, **p["args"]),
        "Polynomial": lambda: lr_scheduler.PolynomialLR(opt, p["steps"] - p["warmup"], **p["args"]),
        "Step": lambda: lr_scheduler.MultiStepLR(opt, **p["args"]),
        "Constant": lambda: lr_scheduler.LambdaLR(opt, lambda _: 1),
    }
    if not p["warmup"]:
        return after[p["type"]]()
    warmup = lr_scheduler.LinearLR(opt, p["start_factor"], total_iters=p["warmup"])
    return lr_scheduler.SequentialLR(opt, [warmup, after[p["type"]]()], [p["warmup"]])


def schedules(p, t):
    """lr and momentum of every step of each schedule."""
    out = {}
    for name, s in p["schedules"].items():
        opt = make_optimizer(s["optimizer"], [("w", torch.zeros(1, requires_grad=True))])
        sched, rows = make_schedule(s, opt), []
        for i in range(s["steps"]):
            rows.append([opt.param_groups[0]["lr"], momentum_of(opt.param_groups[0])])
            opt.step()
            if i < s["steps"] - 1:
                sched.step()
        out[name] = torch.tensor(rows, dtype=torch.float64)
    return out


def plateaus(p, t):
    """The learning rate of every epoch of ReduceLROnPlateau, by the arguments in p, on given values of the metric."""
    out = {}
    for name, args in p.items():
        opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.5)
        sched, rates = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, **args), []
        for value in t[name].tolist():
            rates.append(opt.param_groups[0]["lr"])
            sched.step(value)
        out[name] = torch.tensor(rates, dtype=torch.float64)
    return out


def optimizers(p, t):
    """train_linear for each optimiser, in float32 and in float64."""
    out = {}
    for name, o in p["optimizers"].items():
        for precision, dtype in ("float32", torch.float32), ("float64", torch.float64):
            inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in t.items()}
            out.update({f"{name}/{precision}.{k}": v for k, v in train_linear(p, o, inputs).items()})
    return out


def train_linear(p, o, t):
    """A linear classifier under optimiser o; lr and momentum are set anew in every step, as a scheduler would."""
    weight, bias = (t[k].clone().requires_grad_() for k in ("weight", "bias"))
    named = [("weight", weight), ("bias", bias)]
    opt, losses, norms = make_optimizer(o, named), [], []
    ema = {k: v.detach().clone() for k, v in named}
    for lr, momentum in zip(p["lrs"], p["momenta"]):
        for group in opt.param_groups:
            group["lr"] = lr * group["multiplier"]
            if o["type"] == "SGD":
                group["momentum"] = momentum if o["momentum"] else 0
            else:
                group["betas"] = (momentum, o["beta2"])
        opt.zero_grad(set_to_none=True)
        loss = F.cross_entropy(F.linear(t["x"], weight, bias), t["labels"], label_smoothing=p["label_smoothing"])
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_([weight, bias], p["clip"]).item())
        opt.step()
        losses.append(loss.item())
        for k, v in named:
            ema[k] = p["decay"] * ema[k] + (1 - p["decay"]) * v.detach()
    result = {"losses": torch.tensor(losses, dtype=torch.float64), "norms": torch.tensor(norms, dtype=torch.float64)}
    for k, v in named:
        result.update({"param." + k: v.detach(), "ema." + k: ema[k]})
        result.update({f"{slot}.{k}": x for slot, x in opt.state[v].items() if slot != "step" and x is not None})
    return result


def grad_scaler(p, t):
    """Drives torch.cuda.amp.GradScaler, whose two kernels exist only on CUDA, on the CPU: they are replaced by their
    definition (ATen/native/cuda/AmpKernels.cu). What is compared is the order in which the class calls them, its
    default arguments, and when it skips a step."""
    def unscale(grads, found_inf, inv_scale):
        for g in grads:
            if not torch.isfinite(g).all():
                found_inf.fill_(1)
            g.mul_(inv_scale)

    def update_scale(scale, tracker, found_inf, growth, backoff, interval):
        if found_inf.item():
            scale.mul_(backoff)
            tracker.zero_()
        elif tracker.item() + 1 == interval:
            if torch.isfinite(scale * growth).item():
                scale.mul_(growth)
            tracker.zero_()
        else:
            tracker.add_(1)

    class Replicator:  # its own asserts a CUDA tensor
        def __init__(self, tensor):
            self._per_device_tensors = {tensor.device: tensor}

        def get(self, device):
            return self._per_device_tensors[device]

    arguments = {"growth_interval": p["interval"]} if p["interval"] else {}
    if hasattr(torch.amp, "GradScaler"):  # since 2.3, also for CPUs
        scaler = torch.amp.GradScaler("cpu", **arguments)
    else:
        torch._amp_foreach_non_finite_check_and_unscale_, torch._amp_update_scale_ = unscale, update_scale
        torch.cuda.amp.grad_scaler.amp_definitely_not_available = lambda: False
        torch.cuda.amp.grad_scaler._MultiDeviceReplicator = Replicator
        scaler = torch.cuda.amp.GradScaler(**arguments)
    scaler._lazy_init_scale_growth_tracker(torch.device("cpu"))
    scaler._growth_tracker.fill_(p["tracker"])
    weight = t["weight"].clone().requires_grad_()
    opt = make_optimizer(p["optimizer"], [("weight", weight)])
    scales, weights = [], []
    for grad in t["grads"]:
        weight.grad = grad * scaler._scale
        scaler.step(opt)
        scaler.update()
        scales.append(scaler.get_scale())
        weights.append(weight.detach().clone())
    return {"scales": torch.tensor(scales, dtype=torch.float64), "weights": torch.stack(weights)}


def layers(p, t):
    """Convolutions and normalisations, and the gradients of the norm of m times their outputs, in float64 and float32. With
    autocast, images and kernels are rounded to bfloat16 first, as autocast does it, and there is only float64."""
    out = {}
    for name, c in p.items():
        tensors = {k: t[f"{name}.{k}"] for k in "xmwba" if f"{name}.{k}" in t}
        for precision, dtype in ("float64", torch.float64), ("float32", torch.float32):
            if precision == "float64" or not c.get("autocast"):
                result = layer(c, {k: v.to(dtype).contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v.to(dtype)
                                   for k, v in tensors.items()})
                out.update({f"{name}/{precision}.{k}": v for k, v in result.items()})
    return out


def layer(c, t):
    out, leaves = {}, {k: v.requires_grad_() for k, v in t.items() if k != "m" and (k != "a" or c["add"])}
    rounded = {k: v.bfloat16().to(v.dtype) if c.get("autocast") and v.dim() == 4 else v for k, v in leaves.items()}
    x, w = rounded["x"], rounded["w"]
    if c["norm"]:
        mean, var = torch.zeros_like(w.detach()), torch.ones_like(w.detach())

        def rest(y):
            y = y + rounded["a"] if c["add"] else y
            return y.relu() if c["relu"] else y

        normalised = F.batch_norm(x, mean, var, w, rounded["b"], True)
        normalised.retain_grad()
        y = rest(normalised)
        out.update(mean=mean, var=var, eval=rest(F.batch_norm(x, mean, var, w, rounded["b"])))
    else:
        stride = c["stride"]
        if w.shape[2] == 1:  # the same, without oneDNN's crash: conv.cc
            x, stride = x[:, :, ::stride, ::stride], 1
        y = F.conv2d(x, w, stride=stride, padding=w.shape[2] // 2)
    (y * t["m"]).norm().backward()
    if c["norm"]:  # dx is what is left of this: a difference of larger numbers
        scale = w / (x.var((0, 2, 3), unbiased=False) + 1e-5).sqrt()
        out["cancellation"] = (normalised.grad * scale.view(-1, 1, 1)).norm() / leaves["x"].grad.norm()
    return {**out, "y": y, **{"d" + k: v.grad for k, v in leaves.items()}}


def train(p, t):
    """The whole loop, on given batches: pixels steps×N×H×W×C, labels steps×N. Of every step: the state before it, and its results, in
    float32 and, from the same state, in float64. So no step amplifies what earlier ones have rounded."""
    net = make_network(p).train()
    opt = make_optimizer(p["optimizer"], list(net.named_parameters()))
    sched = make_schedule(p["schedule"], opt)
    out = {}
    for i in range(p["steps"]):
        freeze(net, [] if i >= p.get("unfreeze_at", p["steps"]) else p.get("freeze") or [], i < p.get("freeze_at", p["steps"]))
        out.update({f"{i}.before.{k}": v.clone() for k, v in net.state_dict().items()})
        for name, w in net.named_parameters():
            slots = {k: v for k, v in opt.state.get(w, {}).items() if k != "step" and v is not None}
            out.update({f"{i}.optimizer.{k}.{name}": v.clone() for k, v in slots.items()})
        for precision, n, o in ("float64", *in_float64(net, opt)), ("float32", net, opt):
            result = train_step(p, n, o, normalise(p, t["pixels"][i]), t["labels"][i])
            out.update({f"{i}.{precision}.{k}": v for k, v in result.items()})
        if i < p["steps"] - 1:
            sched.step()
    return out


def freeze(net, parts, training):
    """Parameters of parts have no gradients, and their normalisations are in evaluation; the others train."""
    for name, w in net.named_parameters():
        w.requires_grad_(not any(in_part(name, part) for part in parts))
    for name, m in net.named_modules():
        if isinstance(m, nn.BatchNorm2d):
            m.train(training and not any(in_part(name, part) for part in parts))


def ddp(p, t):
    """The losses of a training by DistributedDataParallel over Gloo, on given batches: pixels steps×N×H×W×C, labels steps×N."""
    fork = torch.multiprocessing.get_context("fork")
    losses = fork.Queue()
    processes = [fork.Process(target=ddp_process, args=(p, t, rank, losses)) for rank in range(p["processes"])]
    for process in processes:
        process.start()
    out = {"losses": torch.tensor(losses.get(timeout=60), dtype=torch.float64)}
    for process in processes:
        process.join()
    return out


def ddp_process(p, t, rank, losses):
    torch.set_num_threads(1)
    size = p["processes"]
    torch.distributed.init_process_group("gloo", f"file://{p['rendezvous']}", rank=rank, world_size=size)
    net = torch.nn.parallel.DistributedDataParallel(make_network(p).train())
    opt = make_optimizer(p["optimizer"], list(net.module.named_parameters()))
    sched = make_schedule(p["schedule"], opt)
    means = []
    for i in range(p["steps"]):
        pixels, labels = (t[k][i].chunk(size)[rank] for k in ("pixels", "labels"))
        opt.zero_grad(set_to_none=True)
        loss = F.cross_entropy(net(normalise(p, pixels)), labels, label_smoothing=p["label_smoothing"])
        loss.backward()
        opt.step()
        if i < p["steps"] - 1:
            sched.step()
        mean = loss.detach().clone()
        torch.distributed.all_reduce(mean)
        means.append(mean.item() / size)
    if rank == 0:
        losses.put(means)


def quantize(p, t):
    """What torch.ao makes of ranges, rows of least and greatest value, and of weights in [-limit, limit]."""
    scales, zeros = [], []
    for ends in t["ranges"]:
        o = observer.MinMaxObserver(dtype=torch.quint8, qscheme=torch.per_tensor_affine)
        o(ends)
        scale, zero = o.calculate_qparams()
        scales.append(scale), zeros.append(zero)
    o = observer.PerChannelMinMaxObserver(dtype=torch.qint8, qscheme=torch.per_channel_symmetric, quant_min=-p["limit"], quant_max=p["limit"])
    o(t["weights"])
    scale, zero = o.calculate_qparams()
    fake = torch.fake_quantize_per_channel_affine(t["weights"], scale, zero.int(), 0, -p["limit"], p["limit"])
    ints = (fake.double() / scale.double()[:, None]).round()
    return {"scales": torch.cat(scales), "zeros": torch.cat(zeros).double(), "weight_scales": scale, "ints": ints}


def fake(p, t):
    """Fake quantisation by ranges as they are, and of weights, with the gradients of (y * m).sum()."""
    out = {}
    for i, ends in enumerate(t["ranges"]):
        f = fake_quantize.FakeQuantize(observer.MinMaxObserver, 0, 255, dtype=torch.quint8, qscheme=torch.per_tensor_affine)
        f(ends), f.disable_observer()
        x = t["x"].clone().requires_grad_()
        y = f(x)
        (y * t["m"]).sum().backward()
        out.update({f"{i}.y": y.detach(), f"{i}.dx": x.grad, f"{i}.scale": f.scale})
    w = t["w"].requires_grad_()
    f = fake_quantize.FakeQuantize(observer.PerChannelMinMaxObserver, -p["limit"], p["limit"], dtype=torch.qint8,
                                   qscheme=torch.per_channel_symmetric, ch_axis=0)
    y = f(w)
    (y * t["mw"]).sum().backward()
    return {**out, "w.y": y.detach(), "w.dx": w.grad, "w.scale": f.scale}


def folded(p, t):
    """The integers of weights that are multiplied by a factor for each channel first, as a folded BatchNorm is."""
    o = observer.PerChannelMinMaxObserver(dtype=torch.qint8, qscheme=torch.per_channel_symmetric, quant_min=-p["limit"], quant_max=p["limit"])
    w = t["w"] * t["factors"][:, None]
    o(w)
    scale, zero = o.calculate_qparams()
    fake = torch.fake_quantize_per_channel_affine(w, scale, zero.int(), 0, -p["limit"], p["limit"])
    return {"scales": scale, "ints": (fake.double() / scale.double()[:, None]).round()}


def quantised(p, t):
    """quantised_layer of several ones, by name."""
    return {f"{name}/{k}": v for name, c in p.items()
            for k, v in quantised_layer(c, {k[len(name) + 1:]: v for k, v in t.items() if k.startswith(name + ".")}).items()}


def quantised_layer(p, t):
    """Steps of a convolution, its normalisation, an addend if there are such, and ReLU, fake-quantised by torch.ao. The last
    step is with ranges and statistics as they are."""
    def of_activation():
        return fake_quantize.FakeQuantize(observer.MovingAverageMinMaxObserver, 0, 255, dtype=torch.quint8,
                                          qscheme=torch.per_tensor_affine, averaging_constant=p["averaging"])

    names = ["input", "addend", "term", "output", "operand"]
    fake = {name: of_activation() for name in names}
    weights = fake_quantize.FakeQuantize(observer.PerChannelMinMaxObserver, -p["limit"], p["limit"], dtype=torch.qint8,
                                         qscheme=torch.per_channel_symmetric, ch_axis=0)
    bn = nn.BatchNorm2d(t["w"].shape[0])
    with torch.no_grad():
        bn.weight.copy_(t["g"]), bn.bias.copy_(t["b"])
    w, out = t["w"].requires_grad_(), {}
    for step in range(p["steps"]):
        if step == p["steps"] - 1:
            bn.eval()
            for f in [*fake.values(), weights]:
                f.disable_observer()
        w.grad = bn.weight.grad = bn.bias.grad = None
        x = t[f"x{step}"].requires_grad_()
        y = bn(F.conv2d(fake["input"](x), weights(w), padding=1))
        if p["add"]:
            a = t[f"a{step}"].requires_grad_()
            y = fake["term"](y) + fake["addend"](a)
        if p["relu"]:
            y = y.relu()
        if p["leaky"]:
            y = F.leaky_relu(fake["operand"](y))
        y = fake["output"](y)
        (y * t["m"]).norm().backward()
        step_out = {"y": y, "dx": x.grad, "dw": w.grad, "dg": bn.weight.grad, "db": bn.bias.grad, "mean": bn.running_mean,
                    "var": bn.running_var, "weight_scales": weights.scale}
        if p["add"]:
            step_out["da"] = a.grad
        for name in names:
            if name in ("input", "output") or p["leaky" if name == "operand" else "add"]:
                step_out[name + ".scale"], step_out[name + ".zero"] = fake[name].scale, fake[name].zero_point.double()
        out.update({f"{step}.{k}": v.detach().clone() for k, v in step_out.items()})
    return out


def mixed(c, images, labels):
    """A batch by torchvision's v2.MixUp or v2.CutMix, which draws what c says; labels are of N×classes. Before torchvision 0.16 it is
    computed by their definition."""
    import torchvision
    v2 = getattr(torchvision.transforms, "v2", None)
    lam, (height, width) = c["lambda"], images.shape[-2:]
    if hasattr(v2, "MixUp"):
        transform = getattr(v2, c["kind"])(num_classes=labels.shape[1])
        transform._dist = type("Drawn", (), {"sample": lambda self, shape: torch.tensor(lam, dtype=torch.float64)})()
        drawn, randint = iter([c.get("x"), c.get("y")]), torch.randint
        torch.randint = lambda *args, **kwargs: torch.tensor([next(drawn)])
        try:
            return transform(images, labels.argmax(1))
        finally:
            torch.randint = randint
    if c["kind"] == "MixUp":
        return (images.roll(1, 0).mul_(1.0 - lam).add_(images.mul(lam)), labels.roll(1, 0).mul_(1.0 - lam).add_(labels.mul(lam)))
    r = 0.5 * (1.0 - lam) ** 0.5
    half_w, half_h = int(r * width), int(r * height)
    x1, y1 = max(c["x"] - half_w, 0), max(c["y"] - half_h, 0)
    x2, y2 = min(c["x"] + half_w, width), min(c["y"] + half_h, height)
    lam = 1.0 - (x2 - x1) * (y2 - y1) / (width * height)
    out = images.clone()
    out[..., y1:y2, x1:x2] = images.roll(1, 0)[..., y1:y2, x1:x2]
    return out, labels.roll(1, 0).mul_(1.0 - lam).add_(labels.mul(lam))


def batches(p, t):
    """Mixed images, and the loss of mixed labels. With weights of classes it is that of both labels, by their shares: with soft labels
    CrossEntropyLoss divides by the number of images, and not by their weights."""
    out = {}
    for name, c in p["cases"].items():
        images, labels = t["images"], F.one_hot(t["labels"], t["logits"].shape[1]).float()
        if c["mix"]:
            images, labels = mixed(c["mix"], images, labels)
        weight = torch.tensor(c["weights"]) if c["weights"] else None
        if weight is None:
            loss = F.cross_entropy(t["logits"], labels, label_smoothing=c["smoothing"])
        else:
            hard = [t["labels"]] + ([t["labels"].roll(1, 0)] if c["mix"] else [])
            losses = [F.cross_entropy(t["logits"], y, weight, label_smoothing=c["smoothing"]) for y in hard]
            share = (labels[0, hard[0][0]] if c["mix"] else torch.tensor(1.0)).item()
            loss = sum(s * x for s, x in zip([share, 1 - share], losses))
        out.update({name + ".images": images, name + ".loss": loss})
    return out


def in_float64(net, opt):
    net, opt = copy.deepcopy((net, opt))  # together: the optimiser's parameters stay those of the network
    net.double()
    for slots in opt.state.values():
        slots.update({k: v.double() for k, v in slots.items() if k != "step" and torch.is_tensor(v)})
    return net, opt


def train_step(p, net, opt, x, labels):
    opt.zero_grad(set_to_none=True)
    loss = F.cross_entropy(net(x.to(net.fc.weight.dtype)), labels, label_smoothing=p["label_smoothing"])
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(net.parameters(), p.get("clip", float("inf")))
    opt.step()
    return {"loss": loss.detach().clone(), "norm": norm, **{"after." + k: v.clone() for k, v in net.state_dict().items()}}


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
