#!/usr/bin/env python3
"""Rounding of 3×3 convolutions by Winograd's algorithm in float32, next to float64, for several sets of points.

    /usr/bin/python3 bench/winograd.py

Prints the root mean square of the errors over that of the outputs: images from a normal distribution behind ReLU, weights as
of PyTorch's initialisation, channels added one after the other. direct is the sum of all products, one after the other.
"""
from fractions import Fraction as F
from math import prod

import numpy as np


def transforms(points, outputs, taps=3):
    """Toom and Cook's Aᵀ, G and Bᵀ for the finite points and infinity, exact but for the last rounding."""
    n = outputs + taps - 1
    scale = [prod(a - b for b in points if b != a) for a in points]

    def polynomial(roots):
        p = [F(1)]
        for root in roots:
            p = [below - root * own for below, own in zip([F(0)] + p, p + [F(0)])]
        return p + [F(0)] * (n - len(p))

    at = [[a**k for a in points] + [F(k == outputs - 1)] for k in range(outputs)]
    g = [[a**k / s for k in range(taps)] for a, s in zip(points, scale)] + [[F(0)] * (taps - 1) + [F(1)]]
    bt = [polynomial([b for b in points if b != a]) for a in points] + [polynomial(points)]
    return [np.array(m, dtype=np.float64).astype(np.float32) for m in (at, g, bt)]


def both_ways(m, x):
    """m x mᵀ in float32, term by term."""
    for _ in range(2):
        rows = []
        for row in m:
            terms = [c * x[..., j, :] for j, c in enumerate(row) if c]
            rows.append(sum(terms[1:], terms[0]))
        x = np.stack(rows, -2).swapaxes(-1, -2)
    return x


def error(got, want):
    return np.sqrt(((got - want) ** 2).mean() / (want**2).mean())


def measure(matrices, channels, rng, filters=16, tiles=64):
    at, g, bt = matrices
    m, n = len(at), len(bt)
    d = np.maximum(rng.standard_normal((tiles, channels, n, n)), 0).astype(np.float32)
    w = (rng.standard_normal((filters, channels, 3, 3)) * np.sqrt(2 / (9 * channels))).astype(np.float32)
    exact, direct = np.zeros((tiles, filters, m, m)), np.zeros((tiles, filters, m, m), np.float32)
    products = np.zeros((tiles, filters, n, n), np.float32)
    v, u = both_ways(bt, d), both_ways(g, w)
    for c in range(channels):
        products += v[:, c, None] * u[None, :, c]
        for i in range(3):
            for j in range(3):
                x, k = d[:, c, None, i : i + m, j : j + m], w[None, :, c, i, j][..., None, None]
                direct += x * k
                exact += x.astype(np.float64) * k
    return error(both_ways(at, products), exact), error(direct, exact)


if __name__ == "__main__":
    sets = {
        "F(2×2): 0, ±1": ([0, 1, -1], 2),
        "F(4×4): 0, ±1, ±2": ([0, 1, -1, 2, -2], 4),
        "F(4×4): 0, ±1, 1/2, -2": ([0, 1, -1, F(1, 2), -2], 4),
        "F(4×4): 0, ±5/8, ±3/2": ([0, F(5, 8), F(-5, 8), F(3, 2), F(-3, 2)], 4),
    }
    for name, (points, outputs) in sets.items():
        for channels in (64, 128, 512):
            winograd, direct = measure(transforms([F(p) for p in points], outputs), channels, np.random.default_rng(1))
            print(f"{name:24} {channels:4} channels: {winograd:.1e}, direct {direct:.1e}", flush=True)
