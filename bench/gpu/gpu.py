"""Our training step on a CUDA GPU, next to PyTorch's: hack/gpu-check.sh runs it. Needs a GPU and the PyTorch with CUDA that the library
was built for (hack/gpu-build.sh).

    gpu.py LIBRARY check      losses of ten steps next to PyTorch's in float32; replays of the graph next to steps one by one
    gpu.py LIBRARY measure    images/s of a training of ResNet18 on 32×32 images, in turns with PyTorch: eager autocast in channels_last, and
                              torch.compile(mode="max-autotune"). All have the data set on the GPU, crop and flip there, AdamW, OneCycleLR
    gpu.py LIBRARY profile    where the time of a step goes

Options, by the environment: BATCH (128), PRECISION (bfloat16 or float16), PAIRS (5), STEPS (200, of a measurement), NAME, a part of the
peers' names. Lines that begin with "= " are results."""
import ctypes
import os
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, PAIRS, STEPS = (int(os.environ.get(k, d)) for k, d in (("BATCH", 128), ("PAIRS", 5), ("STEPS", 200)))
PRECISION = os.environ.get("PRECISION", "bfloat16")
IMAGES, CLASSES, SIZE, PADDING = 50000, 10, 32, 4
MEAN, STD, LR, BETAS, EPS, DECAY = 0.5, 0.25, 3e-3, (0.95, 0.999), 1e-8, 5e-4
DTYPES = {"uint8": 0, "int64": 4, "float16": 5, "float32": 6, "float64": 7, "bfloat16": 15}
LT_CUDA, LT_RELU, LT_IDENTITY = 1, 0, 5


# ---- The network in PyTorch -----------------------------------------------------------------------------------------

class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.down = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o)) if stride > 1 else None

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(y + (x if self.down is None else self.down(x)), inplace=True)


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        widths = [64, 64, 128, 256, 512]
        self.blocks = nn.Sequential(*(Block(i if j == 0 else o, o, 2 if j == 0 and i != o else 1)
                                      for i, o in zip(widths, widths[1:]) for j in range(2)))
        self.fc = nn.Linear(512, CLASSES)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv1(x)), inplace=True))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def network():
    torch.manual_seed(0)
    return ResNet18().cuda().to(memory_format=torch.channels_last).train()


def data_set():
    g = torch.Generator().manual_seed(1)
    return (torch.randint(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=torch.uint8, generator=g),
            torch.randint(0, CLASSES, (IMAGES,), generator=g))


class PyTorch:
    """A training loop as good as PyTorch's own means make it."""

    def __init__(self, compiled):
        pixels, labels = data_set()
        self.pixels = F.pad(pixels.cuda().permute(0, 3, 1, 2), (PADDING,) * 4)
        self.labels, self.i = labels.cuda(), 0
        self.order = torch.randperm(IMAGES, device="cuda")
        self.model = network()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), LR, BETAS, EPS, DECAY, fused=True)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, LR, total_steps=10**6)
        self.scaler = torch.amp.GradScaler("cuda", enabled=PRECISION == "float16")
        self.forward = torch.compile(self.loss, mode="max-autotune") if compiled else self.loss

    def batch(self):
        index = self.order[self.i * BATCH:(self.i + 1) * BATCH]
        self.i = (self.i + 1) % (IMAGES // BATCH)
        top, left = torch.randint(0, 2 * PADDING + 1, (2, BATCH, 1), device="cuda")
        rows = (top + torch.arange(SIZE, device="cuda"))[:, None, :, None]
        columns = left + torch.arange(SIZE, device="cuda")
        columns = torch.where(torch.rand(BATCH, 1, device="cuda") < 0.5, columns, columns.flip(1))[:, None, None, :]
        x = self.pixels[index[:, None, None, None], torch.arange(3, device="cuda")[None, :, None, None], rows, columns]
        return x.float().div_(255).sub_(MEAN).div_(STD).contiguous(memory_format=torch.channels_last), self.labels[index]

    def loss(self, x, y):
        with torch.autocast("cuda", getattr(torch, PRECISION)):
            return F.cross_entropy(self.model(x), y)

    def step(self):
        loss = self.forward(*self.batch())
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()


# ---- Ours, by the C face that Go calls ------------------------------------------------------------------------------

class Source(ctypes.Structure):
    _fields_ = [(k, ctypes.c_void_p) for k in ("pixels", "labels", "table", "order", "epoch")] + \
               [(k, ctypes.c_int64) for k in "nhwc"] + [("seed", ctypes.c_uint64)] + \
               [(k, ctypes.c_int) for k in ("padding", "reflect", "flip", "cutout")] + [("fill", ctypes.c_uint8 * 3)]


P, D, I = ctypes.c_void_p, ctypes.c_double, ctypes.c_int64


class Ours:
    def __init__(self, lib, precision=PRECISION, augment=True, lr=LR):
        self.lib, self.precision, self.live, self.graph, self.done = lib, precision, [], None, 0
        self.call("lt_begin_device")
        model = network()
        self.tensors = {k: self.from_torch(v, v.dtype.is_floating_point) for k, v in model.state_dict().items() if v.dim()}
        names = [k for k, _ in model.named_parameters()]
        for k in names:
            self.call("lt_requires_grad", self.tensors[k])
        self.n = len(names)
        self.params = (P * self.n)(*(self.tensors[k].value for k in names))
        self.moments = [(P * self.n)(*(self.make("lt_zeros_like", self.tensors[k], ctypes.c_int(-1), keep=True).value for k in names))
                        for _ in range(2)]
        self.decays = (D * self.n)(*[DECAY] * self.n)
        full = lambda value, dtype, *sizes: self.make("lt_full", (I * len(sizes))(*sizes), I(len(sizes)), D(value), ctypes.c_int(DTYPES[dtype]),
                                                      ctypes.c_int(LT_CUDA), keep=True)
        self.steps, self.clock, self.epoch = (full(0, "int64", 1) for _ in range(3))
        self.rates = full(lr, "float64", IMAGES // BATCH, 2)
        self.write(self.rates, torch.tensor([[lr, BETAS[0]]] * (IMAGES // BATCH), dtype=torch.float64))
        self.scale, self.found = full(65536, "float32", 1), full(0, "float32", 1)
        self.tracker = self.make("lt_zeros_like", self.found, ctypes.c_int(3), keep=True)
        pixels, labels = data_set()
        three = lambda x: (ctypes.c_float * 3)(*[x] * 3)
        self.table = self.make("lt_pixel_table", I(3), three(MEAN), three(STD), keep=True)
        order = torch.randperm(IMAGES) if augment else torch.arange(IMAGES)
        self.source = Source(pixels=self.upload(pixels).value, labels=self.upload(labels).value, order=self.upload(order).value, epoch=self.epoch.value,
                             table=self.table.value, n=BATCH, h=SIZE, w=SIZE, c=3, padding=PADDING if augment else 0, flip=int(augment))

    def call(self, name, *args):
        f = getattr(self.lib, name)
        f.restype = P
        message = f(*args)
        if message:
            sys.exit(f"{name}: {ctypes.string_at(message).decode()}")

    def make(self, name, *args, keep=False):
        out = P()
        self.call(name, *args, ctypes.byref(out))
        if not keep:
            self.live.append(out)
        return out

    def write(self, tensor, value):
        value = value.contiguous()
        self.call("lt_write", tensor, P(value.data_ptr()), I(value.nbytes))

    def upload(self, value):
        return self.make("lt_upload", P(value.data_ptr()), I(value.numel()), ctypes.c_int(DTYPES[str(value.dtype)[6:]]), keep=True)

    def from_torch(self, value, float32):
        t = self.make("lt_full", (I * value.dim())(*value.shape), I(value.dim()), D(0), ctypes.c_int(DTYPES["float32" if float32 else "int64"]),
                      ctypes.c_int(LT_CUDA), keep=True)
        self.write(t, value.cpu())
        self.call("lt_move", t, ctypes.c_int(LT_CUDA), ctypes.c_bool(True))
        return t

    def read(self, tensor, like):
        out = torch.empty_like(like, device="cpu")
        self.call("lt_read", tensor, P(out.data_ptr()), I(out.nbytes))
        return out

    def conv(self, x, name, stride, padding):
        return self.make("lt_conv2d", x, self.tensors[name + ".weight"], I(stride), I(padding))

    def norm(self, x, name, add=None, kind=LT_RELU):
        weights = (P * 4)(*(self.tensors[f"{name}.{k}"].value for k in ("weight", "bias", "running_mean", "running_var")))
        return self.make("lt_batch_norm", x, weights, ctypes.c_bool(True), D(0.1), D(1e-5), ctypes.c_size_t(0), add,
                         ctypes.c_int(kind))

    def forward(self, x):
        x = self.norm(self.conv(x, "conv1", 1, 1), "bn1")
        for i in range(8):
            b, stride = f"blocks.{i}", 2 if i in (2, 4, 6) else 1
            y = self.norm(self.conv(x, b + ".conv1", stride, 1), b + ".bn1")
            y = self.conv(y, b + ".conv2", 1, 1)
            if stride > 1:
                x = self.norm(self.conv(x, b + ".down.0", 2, 0), b + ".down.1", kind=LT_IDENTITY)
            x = self.norm(y, b + ".bn2", add=x)
        return self.make("lt_linear", self.make("lt_global_avg_pool", x), self.tensors["fc.weight"], self.tensors["fc.bias"])

    def work(self):
        images, labels = P(), P()
        self.call("lt_device_batch", ctypes.byref(self.source), self.clock, ctypes.byref(images), ctypes.byref(labels))
        self.live += [images, labels]
        if self.precision != "float32":
            self.call("lt_autocast_begin", ctypes.c_int(LT_CUDA), ctypes.c_int(DTYPES[self.precision]))
        loss = self.make("lt_cross_entropy", self.forward(images), labels, D(0))
        if self.precision != "float32":
            self.lib.lt_autocast_end(ctypes.c_int(LT_CUDA))
        found = None
        if self.precision == "float16":
            self.call("lt_backward", self.make("lt_scale", loss, self.scale))
            self.call("lt_amp_unscale", self.params, I(self.n), self.scale, self.found)
            found = self.found
        else:
            self.call("lt_backward", loss)
        norms = self.make("lt_grad_norms", self.params, I(self.n))
        self.make("lt_norm", norms)
        self.call("lt_device_adamw", self.params, *self.moments, self.decays, I(self.n), self.make("lt_index_select", self.rates, self.clock),
                  D(BETAS[1]), D(EPS), found, self.steps)
        if found:
            self.call("lt_amp_update", self.scale, self.tracker, found, D(2), D(0.5), I(2000))
        self.call("lt_increment", self.clock)
        return loss

    def free(self):
        handles = (P * len(self.live))(*(h.value for h in self.live))
        self.lib.lt_delete(handles, I(len(self.live)))
        self.live = []

    def eager(self):
        """A step without a graph; returns its loss."""
        loss = self.read(self.work(), torch.zeros(()))
        self.free()
        return loss.item()

    def replayed(self):
        """A step, by the graph if that is there; returns its loss."""
        self.step()
        return self.read(self.loss, torch.zeros(())).item()

    def weights(self):
        return torch.cat([self.read(self.tensors[k], v).flatten() for k, v in network().named_parameters()])

    def step(self):
        if self.graph is None and self.done < 3:
            self.free()
            self.loss = self.work()
            self.done += 1
            return
        if self.graph is None:
            self.free()
            self.graph = P()
            self.call("lt_graph_begin", ctypes.byref(self.graph))
            self.loss = self.work()
            self.live.remove(self.loss)
            self.free()
            self.call("lt_graph_end", self.graph)
        if self.done == IMAGES // BATCH:  # an epoch is over
            self.call("lt_upload_to", self.clock, (I * 1)(0), I(8))
            self.done = 0
        self.call("lt_graph_replay", self.graph)
        self.done += 1


# ---- What is asked of both ------------------------------------------------------------------------------------------

def check(lib):
    """Ten steps in float32 and in PRECISION next to PyTorch's in float32, on the same weights and batches. They are small: AdamW
    makes a whole step of a gradient that is nothing but rounding, and large steps make much of that."""
    lr = LR / 100
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr, BETAS, EPS, DECAY)
    pixels, labels = data_set()
    want = []
    for i in range(10):
        part = slice(i * BATCH, (i + 1) * BATCH)
        x = pixels[part].cuda().permute(0, 3, 1, 2).float().div_(255).sub_(MEAN).div_(STD).contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(model(x), labels[part].cuda())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        want.append(loss.item())
    for precision, allowed in (("float32", 2e-3), (PRECISION, 2e-2)):
        ours = Ours(lib, precision, augment=False, lr=lr)
        got = [ours.eager() for _ in want]
        worst = max(abs(a - b) / b for a, b in zip(got, want))
        print(f"= losses of ten steps in {precision}: at most {worst:.1e} from PyTorch's in float32 (allowed {allowed})")
        if not worst <= allowed:
            sys.exit(f"ours    {got}\nPyTorch {want}")
    check_replay(lib, lr)


def check_replay(lib, lr, steps=50):
    """The path that is measured: replays of a graph, with augmentation, next to as many steps one by one."""
    eager, graph = Ours(lib, lr=lr), Ours(lib, lr=lr)
    want, got = [eager.eager() for _ in range(steps)], [graph.replayed() for _ in range(steps)]
    worst = max(abs(a - b) / b for a, b in zip(got, want))
    a, b, begin = graph.weights(), eager.weights(), torch.cat([v.detach().cpu().flatten() for v in network().parameters()])
    distance = ((a - b).norm() / (b - begin).norm()).item()
    print(f"= {steps} steps by the graph in {PRECISION}: losses at most {worst:.1e}, what was learned {distance:.1e} from steps one by one "
          "(allowed 0.02 and 0.2)")
    if not (worst <= 0.02 and distance <= 0.2):
        sys.exit(f"graph {got}\neager {want}")
    before = torch.cuda.memory_reserved()
    for _ in range(1000):
        graph.step()
    torch.cuda.synchronize()
    print(f"= memory: {before >> 20} MiB after {steps} steps, {torch.cuda.memory_reserved() >> 20} after 1,000 more")


def images_per_second(trainer):
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(STEPS):
        trainer.step()
    torch.cuda.synchronize()
    return STEPS * BATCH / (time.perf_counter() - start)


def measure(lib):
    peers = {"eager, AMP, channels_last": False, 'torch.compile(mode="max-autotune")': True}
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, batch {BATCH}, {PRECISION}; images/s, medians of {PAIRS} pairs")
    ours = Ours(lib)
    for name, compiled in peers.items():
        if os.environ.get("NAME", "") not in name:
            continue
        peer = PyTorch(compiled)
        for trainer in (peer, ours):
            for _ in range(20):  # compiles, and finds algorithms
                trainer.step()
            images_per_second(trainer)
        a, b = zip(*((images_per_second(ours), images_per_second(peer)) for _ in range(PAIRS)))
        ratios = [x / y for x, y in zip(a, b)]
        print(f"= batch {BATCH}, {PRECISION}: ours {statistics.median(a):.0f} images/s, {name} {statistics.median(b):.0f}, ratio "
              f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def profile(lib, steps=20):
    ours = Ours(lib)
    for _ in range(10):
        ours.step()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as p:
        for _ in range(steps):
            ours.step()
        torch.cuda.synchronize()
    kernels = sorted(p.key_averages(), key=lambda k: -k.self_device_time_total)
    total = sum(k.self_device_time_total for k in kernels)
    print(f"= step of batch {BATCH} in {PRECISION}: {total / steps / 1000:.3f} ms in kernels")
    for k in kernels[:25]:
        print(f"{'= ' if k in kernels[:6] else '  '}{k.self_device_time_total / steps:8.1f} µs {k.count / steps:6.1f}× {k.key[:100]}")


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in ("check", "measure", "profile"):
        sys.exit(__doc__)
    if not torch.cuda.is_available():
        sys.exit("no CUDA GPU, or a PyTorch without CUDA")
    torch.backends.cudnn.benchmark = True
    {"check": check, "measure": measure, "profile": profile}[sys.argv[2]](ctypes.CDLL(sys.argv[1]))


if __name__ == "__main__":
    main()
