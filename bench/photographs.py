"""The data set of bench/photographs.sh, and its peer.

    photographs.py make DIR N   N JPEGs of about 500×375 pixels as an ImageFolder of ten classes, a hundredth of them to test.
                                There are at most 1,000 different pictures; the other files differ in a comment.
    photographs.py load DIR     images/s of torchvision's DataLoader in one process: decode by Pillow, RandomResizedCrop(224),
                                flip, ToTensor, Normalize. The second epoch counts"""
import io
import os
import sys
import time

import numpy as np
from PIL import Image

PICTURES, BATCH = 1000, 128


def picture(i):
    """Noise on all scales, as in photographs, and edges: JPEGs of it have the size of a photograph's."""
    rng = np.random.default_rng(i)
    h, w = int(rng.integers(340, 411)), int(rng.integers(460, 541))
    if i % 4 == 0:
        h, w = w, h
    image = np.full((h, w, 3), 128.0)
    for cells, strength in ((3, 60), (9, 40), (30, 25), (100, 14), (250, 9)):
        noise = (rng.standard_normal((cells, cells, 3)) * 40 + 128).clip(0, 255).astype(np.uint8)
        image += (np.asarray(Image.fromarray(noise).resize((w, h), Image.BICUBIC), float) - 128) * strength / 40
    image[h // 3:h // 2, w // 4:w // 2] += rng.uniform(-80, 80, 3)
    file = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=92)
    return file.getvalue()


def make(folder, n):
    pictures = [picture(i) for i in range(min(n, PICTURES))]
    for i in range(n):
        part = "test" if i % 100 == 99 else "train"
        where = os.path.join(folder, part, "class%d" % (i // 100 % 10))
        os.makedirs(where, exist_ok=True)
        content = pictures[i % len(pictures)]
        with open(os.path.join(where, "photograph%07d.jpg" % i), "wb") as f:
            f.write(content[:2] + b"\xff\xfe\x00\x0a%08d" % i + content[2:])


def load(folder):
    import torch
    from torchvision import datasets, transforms
    torch.set_num_threads(1)
    data = datasets.ImageFolder(os.path.join(folder, "train"), transforms.Compose([
        transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]))
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True)
    for _ in range(2):
        start, images = time.perf_counter(), 0
        for x, _ in loader:
            images += len(x)
        speed = images / (time.perf_counter() - start)
    print("%.1f" % speed)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]))
    else:
        load(sys.argv[2])
