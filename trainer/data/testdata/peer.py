"""What the tests of package data compare with: torchvision and Pillow on the images in a file.

For each line, a JSON list of cases, writes a line {name: hexadecimal bytes}.
"""
import io
import json
import math
import pickle
import sys
import warnings

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision import transforms as T
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import _apply_op

warnings.filterwarnings("ignore")


def tensor(case):
    h, w, c = case["shape"]
    return torch.frombuffer(bytearray.fromhex(case["pixels"]), dtype=torch.uint8).view(h, w, c).permute(2, 0, 1)


def pil(case):
    x = tensor(case)
    return Image.frombytes("RGB" if x.shape[0] == 3 else "L", (x.shape[2], x.shape[1]), bytes.fromhex(case["pixels"]))


def crop_flip(case):
    x = F.pad(tensor(case), case["padding"], padding_mode=case["mode"])
    h, w, _ = case["shape"]
    x = F.crop(x, case["top"], case["left"], h, w)
    return F.hflip(x) if case["flip"] else x


def policy(case):
    return _apply_op(tensor(case), case["op"], case["magnitude"], F.InterpolationMode.NEAREST, None)


def magnitudes(case):
    """31 magnitudes of each operation, as float64."""
    space = T.TrivialAugmentWide()._augmentation_space(31)
    rows = [m.double() if m.ndim else torch.zeros(31, dtype=torch.double) for m, _ in space.values()]
    return torch.stack(rows)


def jitter(case):
    x = tensor(case)
    ops = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue]
    for i in case["order"]:
        x = ops[i](x, case["factor"][i])
    return x


def resize(case):
    return T.Compose([T.Resize(case["size"]), T.CenterCrop(case["size"])])(pil(case))


def resize_crop(case):
    return T.Compose([T.Resize(case["resize"]), T.CenterCrop(case["size"])])(pil(case))


class Given:
    """The numbers in [0, 1) that torch.Tensor.uniform_ and torch.randint are to use."""

    def __init__(self, numbers):
        self.numbers = iter(numbers)
        self.before = torch.Tensor.uniform_, torch.randint, torch.rand, torch.linspace

    def __enter__(self):
        def uniform_(x, low=0, high=1):
            assert x.numel() == 1
            low, high = torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)
            return x.copy_(torch.tensor(next(self.numbers), dtype=torch.float32) * (high - low) + low)

        def randint(low, high=None, size=None, **more):
            if isinstance(high, tuple):
                high, size = None, high
            low, high = (0, low) if high is None else (low, high)
            return torch.tensor([low + int(next(self.numbers) * (high - low)) for _ in range(math.prod(size))]).view(size)

        def rand(*size):
            size = size[0] if isinstance(size[0], tuple) else size
            return torch.tensor([next(self.numbers) for _ in range(math.prod(size))], dtype=torch.float32).view(size)

        def linspace(start, end, steps, **more):
            """To the nearest: PyTorch's last bit depends on the processor."""
            return torch.tensor([start + (end - start) * i / (steps - 1) for i in range(steps)], dtype=torch.float32)

        torch.Tensor.uniform_, torch.randint, torch.rand, torch.linspace = uniform_, randint, rand, linspace

    def __exit__(self, *_):
        torch.Tensor.uniform_, torch.randint, torch.rand, torch.linspace = self.before


def random_resized_crop(case):
    """The box as four numbers of four bytes, and the image."""
    image = Image.open(io.BytesIO(bytes.fromhex(case["file"]))).convert("RGB") if "file" in case else pil(case)
    transform = T.RandomResizedCrop((case["h"], case["w"]), tuple(case["scale"]), tuple(case["ratio"]))
    with Given(case["random"]):
        box = transform.get_params(image, transform.scale, transform.ratio)
    return b"".join(v.to_bytes(4, "big") for v in box) + F.resized_crop(image, *box, transform.size, transform.interpolation).tobytes()


def automatic(case):
    """AutoAugment or RandAugment with given random numbers."""
    name, arguments = case["transform"]
    transform = getattr(T, name)(T.AutoAugmentPolicy(arguments[0]) if name == "AutoAugment" else arguments[0], *arguments[1:])
    with Given(case["random"]):
        return transform(tensor(case))


def random_erasing(case):
    """The box, if there is one, and the image: erased by 7, in place of 0 after normalisation."""
    x = tensor(case)
    transform = T.RandomErasing(case["p"], tuple(case["scale"]), tuple(case["ratio"]), value=7)
    with Given(case["random"]):
        return transform(x.float()).to(torch.uint8)


def convert(case):
    return T.Grayscale(case["channels"])(pil(case))


def decode(case):
    """Nothing if Pillow does not read it."""
    try:
        return Image.open(io.BytesIO(bytes.fromhex(case["file"]))).convert("RGB")
    except OSError:
        return b""


def encode(case):
    """The size of a file, the file, and its pixels as RGB."""
    image = pil(case)
    if case["mode"] in ("I", "I;16"):  # levels around 255, where Pillow cuts off
        image = Image.fromarray((np.asarray(image.convert("L")).astype(np.int32) * 2), "I").convert(case["mode"])
    elif case["mode"] == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    else:
        image = image.convert(case["mode"])
    options = case["options"] or {}
    if options.get("save_all"):
        options["append_images"] = [image.rotate(90), image.rotate(180)]
    if "tiffinfo" in options:
        options["tiffinfo"] = {int(tag): value for tag, value in options["tiffinfo"].items()}
    file = io.BytesIO()
    image.save(file, case["format"], **options)
    content = file.getvalue()
    return len(content).to_bytes(4, "big") + content + Image.open(file).convert("RGB").tobytes()


def exif(case):
    """As encode, with an orientation, and the pixels as they are to be shown."""
    image, file = pil(case), io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = case["orientation"]
    if case["format"] == "TIFF":
        image.save(file, case["format"], tiffinfo={0x0112: case["orientation"]})
    else:
        image.save(file, case["format"], exif=tags.tobytes())
    content = file.getvalue()
    shown = Image.open(file)
    if case["format"] != "TIFF":  # which Pillow turns when it reads it
        shown = ImageOps.exif_transpose(shown)
    return len(content).to_bytes(4, "big") + content + shown.convert("RGB").tobytes()


def pickled(case):
    """A batch of CIFAR as Python 3 pickles it."""
    rows = np.frombuffer(bytes.fromhex(case["planes"]), dtype=np.uint8).reshape(-1, 3072)
    batch = {"batch_label": "testing batch 1 of 1", case["key"]: case["labels"], "data": rows, "filenames": ["a.png"] * len(rows)}
    if case["bytes_keys"]:
        batch = {k.encode(): v for k, v in batch.items()}
    return pickle.dumps(batch, protocol=case["protocol"])


def as_bytes(x):
    if isinstance(x, bytes):
        return x
    if isinstance(x, Image.Image):
        return x.tobytes()
    if x.dtype == torch.uint8:
        x = x.permute(1, 2, 0)
    return x.contiguous().numpy().tobytes()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps({c["name"]: as_bytes(globals()[c["function"]](c)).hex() for c in json.loads(line)}), flush=True)
