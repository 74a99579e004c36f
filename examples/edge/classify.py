#!/usr/bin/env python3
"""Labels images with an exported model, float or int8; model.json lies beside it.

    pip install -r requirements.txt
    python classify.py model.int8.onnx cat.jpg dog.png
"""
import json
import os
import sys

import numpy as np
import onnxruntime
from PIL import Image


def pixels(image, card):
    """What `trainer predict` feeds the network with: height×width×channels, from 0 to 255."""
    size, padding = card["input"], 2 if "MNIST" in card["dataset"]["format"] else 0
    height, width = size["height"] - 2 * padding, size["width"] - 2 * padding
    image = image.convert("RGB")
    if image.width * height > image.height * width:  # as small as still covers the size, whose centre is cut out
        w, h = int(height * image.width / image.height), height
    else:
        w, h = width, int(width * image.height / image.width)
    image = image.resize((w, h), Image.BILINEAR)
    left, top = round((w - width) / 2), round((h - height) / 2)
    image = image.crop((left, top, left + width, top + height))
    if size["channels"] == 1:
        image = image.convert("L")
    image = np.asarray(image).reshape(height, width, -1)
    return np.pad(image, ((padding, padding), (padding, padding), (0, 0)))


def tensor(image, card, file):
    x = pixels(image, card).astype(np.float32) / 255
    if "input" not in card["files"][file]:  # else the graph normalises
        x = (x - np.float32(card["input"]["mean"])) / np.float32(card["input"]["std"])
    return x.transpose(2, 0, 1)[None]


def main(model, *images):
    with open(os.path.join(os.path.dirname(model), "model.json")) as f:
        card = json.load(f)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for name in images:
        with Image.open(name) as image:
            x = tensor(image, card, os.path.basename(model))
        logits = session.run(["logits"], {"input": x})[0][0].astype(np.float64)
        share = np.exp(logits - logits.max())
        best = logits.argmax()
        print(f"{name}\t{card['classes'][best]}\t{100 * share[best] / share.sum():.1f} %")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: classify.py MODEL.onnx IMAGE...")
    main(*sys.argv[1:])
