"""Whether statistics of batch normalisation that are computed anew with the final weights (precise-BN) are better than the
running ones: test loss and accuracy of models that bench/accuracy.sh has trained, with either.

    precise_bn.py FOLDER TRAIN MODEL.safetensors…

The new ones are means over the batches of one pass through the first TRAIN images, cropped and flipped as in the training."""
import json
import sys

import torch

from accuracy import BATCH, Network, augment, normalise, read, test


def load(name):
    with open(name, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        content = f.read()
    types = {"F32": torch.float32, "I64": torch.int64}
    return {key: torch.frombuffer(bytearray(content[slice(*t["data_offsets"])]), dtype=types[t["dtype"]]).view(t["shape"])
            for key, t in header.items() if key != "__metadata__" and t["dtype"] in types}


def recompute(model, images):
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.reset_running_stats()
            m.momentum = None  # a plain mean
    model.train()
    with torch.no_grad():
        for x in images.split(BATCH):
            if len(x) == BATCH:
                model(normalise(augment(x)))


folder, count = sys.argv[1], int(sys.argv[2])
torch.manual_seed(0)
train, tested = read(folder, "train", count)[0], read(folder, "t10k", None)
print(f"{'running: loss, accuracy %':30}{'precise: loss, accuracy %':30}")
for name in sys.argv[3:]:
    weights = load(name)
    model = Network(weights["conv1.weight"].shape[0] / 64)
    model.load_state_dict(weights)
    rows = [test(model, *tested)]
    recompute(model, train)
    rows.append(test(model, *tested))
    print("".join(f"{f'{loss:.4f} {100 * accuracy:.2f}':30}" for loss, accuracy in rows) + name, flush=True)
