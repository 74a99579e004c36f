"""PyTorch's side of bench/train.sh and bench/distributed.sh, which set BATCH, IMAGES and PRECISION. Prints images/s. The network
is ResNet18 for 32×32 images; of a step and of the limit also torchvision's ARCHITECTURE for images of SIZE×SIZE pixels.

    peer.py best      a training of two epochs, the second one measured: channels_last, data in memory, AdamW in one
                      kernel where PyTorch has it, torch.compile if COMPILE is set; as one rank of a
                      DistributedDataParallel on Gloo, if RENDEZVOUS (a URL), RANK and WORLD_SIZE say so
    peer.py article   the same as tutorials write it: NCHW, float32, torchvision's transforms, DataLoader with 2 workers
    peer.py step      of best, the step alone, always on the same batch
    peer.py limit     the network's convolutions alone, forward and backward, each in the faster layout"""
import os
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from torchvision import transforms

batch, images = int(os.environ["BATCH"]), int(os.environ["IMAGES"])
bf16 = os.environ["PRECISION"] == "BF16"
architecture, size = os.environ.get("ARCHITECTURE", "ResNet18").lower(), int(os.environ.get("SIZE", 32))
MEAN, STD = 0.5, 0.25


def network():
    """As published, in the layout of PyTorch's default."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(architecture, num_classes=10)
    if size == 32:
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    return model.train()


def fast_network():
    model = network().to(memory_format=torch.channels_last)
    return torch.compile(model) if os.environ.get("COMPILE") else model


def training(model, steps):
    fused = {"fused": True} if torch.__version__ >= "2.4" else {}  # a TorchVersion: it compares numbers
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=5e-4, **fused)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.003, total_steps=steps)


def step(model, optimizer, schedule, x, labels, autocast):
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = F.cross_entropy(model(x), labels)
    loss.backward()
    optimizer.step()
    schedule.step()
    return loss.item()


def augment(x):
    """Crop with padding 4 and flip, drawn for every image."""
    padded, out = F.pad(x, (4, 4, 4, 4)), torch.empty_like(x)
    draws = torch.stack([*torch.randint(0, 9, (2, len(x))), torch.randint(0, 2, (len(x),))], 1).tolist()
    for i, (top, left, flip) in enumerate(draws):
        view = padded[i, :, top:top + 32, left:left + 32]
        out[i] = view.flip(2) if flip else view
    return out


def normalise(pixels):
    return pixels.float().div_(255).sub_(MEAN).div_(STD).contiguous(memory_format=torch.channels_last)


def best():
    model, steps = fast_network(), images // batch
    share = batch
    if "RENDEZVOUS" in os.environ:
        ranks = int(os.environ["WORLD_SIZE"])
        torch.distributed.init_process_group("gloo", os.environ["RENDEZVOUS"], world_size=ranks, rank=int(os.environ["RANK"]))
        model = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
        share = batch // ranks
    optimizer, schedule = training(model, 2 * steps)
    data = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 10, (images,))
    for epoch in range(2):
        start = time.perf_counter()
        for index in torch.randperm(images)[:steps * share].split(share):
            step(model, optimizer, schedule, normalise(augment(data[index])), labels[index], bf16)
    return steps * batch / (time.perf_counter() - start)


def article():
    model, steps = network(), images // batch
    optimizer, schedule = training(model, 2 * steps)
    transform = transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize((MEAN,) * 3, (STD,) * 3),
    ])
    data = torchvision.datasets.FakeData(images, (3, 32, 32), 10)
    pictures = [data[i] for i in range(images)]  # FakeData draws anew each time; CIFAR-10 has its pixels in memory

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return images

        def __getitem__(self, i):
            return transform(pictures[i][0]), pictures[i][1]

    loader = torch.utils.data.DataLoader(Pictures(), batch_size=batch, shuffle=True, num_workers=2, drop_last=True)
    for epoch in range(2):
        start = time.perf_counter()
        for x, y in loader:
            step(model, optimizer, schedule, x, y, False)
    return steps * batch / (time.perf_counter() - start)


def step_alone(repeats=int(os.environ.get("STEPS", 5))):
    model = fast_network()
    optimizer, schedule = training(model, 1000)
    x = normalise(torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8))
    y = torch.randint(0, 10, (batch,))
    step(model, optimizer, schedule, x, y, bf16)
    start = time.perf_counter()
    for _ in range(repeats):
        step(model, optimizer, schedule, x, y, bf16)
    return repeats * batch / (time.perf_counter() - start)


def limit(repeats=3):
    """Every convolution of the network once for each shape."""
    shapes, model = {}, network()
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            m.register_forward_hook(lambda m, x, y: shapes.update({m: x[0].shape}))
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size))
    seconds, known = 0, {}
    dtype = torch.bfloat16 if bf16 else torch.float32
    for m, shape in shapes.items():
        key = (shape, m.weight.shape, m.stride)
        if key not in known:
            known[key] = min(conv_seconds(m, shape, dtype, layout, repeats)
                             for layout in (torch.channels_last, torch.contiguous_format))
        seconds += known[key]
    return batch / seconds


def conv_seconds(m, shape, dtype, layout, repeats):
    x = torch.randn(batch, *shape[1:]).to(dtype).contiguous(memory_format=layout).requires_grad_(shape[1] > 3)
    w = m.weight.detach().to(dtype).contiguous(memory_format=layout).requires_grad_()
    dy = torch.randn_like(F.conv2d(x, w, None, m.stride, m.padding))
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        F.conv2d(x, w, None, m.stride, m.padding).backward(dy)
        best = min(best, time.perf_counter() - start)
        x.grad = w.grad = None
    return best


modes = {"best": best, "article": article, "step": step_alone, "limit": limit}
print(f"{modes[sys.argv[1]]():.1f}")
