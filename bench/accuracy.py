"""PyTorch's side of bench/accuracy.sh: ResNet18 for 32x32 images on the first TRAIN images of Fashion-MNIST, with the
default recipe of this project: AdamW, OneCycleLR, batch 128, crop and flip, channels_last. In the environment are
PRECISION (BF16: bf16 autocast, else float32), WIDTH (of the network: 1) and AUGMENT (mixup, cutmix, randaugment, or nothing more).

    accuracy.py FOLDER SEED TRAIN EPOCHS

Prints one line of JSON an epoch: the mean training loss, and loss and accuracy on all test images."""
import gzip
import json
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision

bf16 = os.environ.get("PRECISION") == "BF16"
variation = os.environ.get("AUGMENT")
MEAN, STD, BATCH = 0.2860, 0.3530, 128  # MEAN and STD are of the 28×28 training pixels


def read(folder, kind, limit):
    """Images as uint8 N×1×32×32, black around the 28×28 pixels, and labels."""
    with gzip.open(f"{folder}/{kind}-images-idx3-ubyte.gz") as f:
        pixels = torch.frombuffer(bytearray(f.read()[16:]), dtype=torch.uint8).view(-1, 1, 28, 28)
    with gzip.open(f"{folder}/{kind}-labels-idx1-ubyte.gz") as f:
        labels = torch.frombuffer(bytearray(f.read()[8:]), dtype=torch.uint8).long()
    return F.pad(pixels[:limit], (2, 2, 2, 2)), labels[:limit]


def augment(x):
    """RandomCrop(32, padding=4) and RandomHorizontalFlip, drawn for every image; RandAugment before."""
    if variation == "randaugment":
        x = torch.stack([torchvision.transforms.RandAugment()(image) for image in x])
    padded, out = F.pad(x, (4, 4, 4, 4)), torch.empty_like(x)
    for i, (top, left, flip) in enumerate(torch.stack([*torch.randint(0, 9, (2, len(x))), torch.randint(0, 2, (len(x),))], 1).tolist()):
        view = padded[i, :, top:top + 32, left:left + 32]
        out[i] = view.flip(2) if flip else view
    return out


def normalise(x):
    return x.float().div_(255).sub_(MEAN).div_(STD).contiguous(memory_format=torch.channels_last)


def mix(x):
    """MixUp and CutMix of torchvision.transforms.v2, which this torchvision has not: each image with the one before it.
    Returns the images and the share of their own labels."""
    if variation not in ("mixup", "cutmix"):
        return x, 1.0
    share, before = torch.distributions.Beta(1.0, 1.0).sample().item(), x.roll(1, 0)
    if variation == "mixup":
        return x * share + before * (1 - share), share
    size = x.shape[-1]
    half = int(0.5 * (1 - share) ** 0.5 * size)
    left, top = torch.randint(size, (2,)).tolist()
    rows, columns = slice(max(top - half, 0), min(top + half, size)), slice(max(left - half, 0), min(left + half, size))
    x[..., rows, columns] = before[..., rows, columns]
    return x, 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / size ** 2


def criterion(logits, labels, share):
    """The cross-entropy with soft targets."""
    return share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels.roll(1))


class Network(torchvision.models.ResNet):
    """ResNet18 for small grey images, of any width."""

    def __init__(self, width):
        self.width = width
        super().__init__(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2])
        self.conv1 = nn.Conv2d(1, int(64 * width), 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = nn.BatchNorm2d(int(64 * width))
        self.maxpool = nn.Identity()
        self.fc = nn.Linear(int(512 * width), 10)

    def _make_layer(self, block, planes, *args, **kwargs):
        if planes == 64:
            self.inplanes = int(64 * self.width)
        return super()._make_layer(block, int(planes * self.width), *args, **kwargs)


def test(model, images, labels):
    """The mean loss and the accuracy."""
    model.eval()
    loss, correct = 0.0, 0
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        for x, y in zip(images.split(BATCH), labels.split(BATCH)):
            logits = model(normalise(x)).float()
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct += (logits.argmax(1) == y).sum().item()
    return loss / len(images), correct / len(images)


def main(folder, seed, count, epochs):
    torch.manual_seed(seed)
    images, labels = read(folder, "train", count)
    test_images, test_labels = read(folder, "t10k", None)
    model = Network(float(os.environ.get("WIDTH", 1))).to(memory_format=torch.channels_last)
    steps = count // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.003, total_steps=epochs * steps)
    for epoch in range(1, epochs + 1):
        model.train()
        losses = []
        for index in torch.randperm(count)[:steps * BATCH].split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                x, share = mix(normalise(augment(images[index])))
                loss = criterion(model(x), labels[index], share)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        test_loss, accuracy = test(model, test_images, test_labels)
        print(json.dumps({"epoch": epoch, "trainLoss": sum(losses) / len(losses), "testLoss": test_loss,
                          "accuracy": accuracy}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
