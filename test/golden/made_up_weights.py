"""Weights, pictures and figures of layers for topologies_*.py and recipes_*.py, from formulas that made-up-weights.ts repeats: both sides hold the same bits."""

import json
import pathlib

import numpy as np


def uniform(name, count):
    """`count` numbers from -1 to 1 that depend on the name and the place only: FNV-1a of the name, then MurmurHash3's finalizer of each place."""
    seed = 2166136261
    for byte in name.encode():
        seed = ((seed ^ byte) * 16777619) & 0xFFFFFFFF
    x = (np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)).astype(np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return x.astype(np.float64) / 2**31 - 1


def tensor(name, shape):
    """A tensor `LAYER/kernel` and so on in graft's order of axes, of a size that keeps activations sensible."""
    values = uniform(name, int(np.prod(shape)))
    part = name.rsplit("/", 1)[1]
    if part == "kernel":
        values *= np.sqrt(6 / (values.size / shape[-1]))
    elif part == "depthwise_kernel":
        values *= np.sqrt(6 / (shape[0] * shape[1]))
    elif part == "gamma":
        values = 1 + 0.25 * values
    elif part == "moving_variance":
        values = 1 + 0.5 * values
    else:  # bias, beta, moving_mean
        values *= 0.25
    return values.astype(np.float32).reshape(shape)


def picture(size):
    """One picture [1, size, size, 3], from -1 to 1."""
    return uniform("input", size * size * 3).astype(np.float32).reshape(1, size, size, 3)


def figures(activation):
    """Mean, root of the mean square, and five values of an activation [1, ...], in NHWC."""
    flat = np.asarray(activation, dtype=np.float64).reshape(-1)
    places = [flat.size * i // 5 for i in range(5)]
    short = lambda value: float(f"{value:.7g}")
    return {
        "shape": list(np.shape(activation)[1:]),
        "mean": short(flat.mean()),
        "rms": short(np.sqrt((flat * flat).mean())),
        "values": [short(flat[place]) for place in places],
    }


def channels_last(activation):
    activation = np.asarray(activation)
    return activation.transpose(0, 2, 3, 1) if activation.ndim == 4 else activation


def write(script, made_with, networks):
    """Beside the script, one layer a line."""
    lines = []
    for network in networks:
        layers = network.pop("layers")
        head = ",\n".join(f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in network.items())
        rows = ",\n".join(f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in layers.items())
        lines.append(f'  {{\n{head},\n   "layers": {{\n{rows}\n   }}\n  }}')
    text = f'{{\n "madeWith": {json.dumps(made_with)},\n "networks": [\n' + ",\n".join(lines) + "\n ]\n}\n"
    pathlib.Path(script).with_suffix(".json").write_text(text)
