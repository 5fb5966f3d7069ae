"""What train_torch.py and train_keras.py share: the networks' names, how steps are timed, and the line of JSON that says what came out."""

import argparse
import json
import resource
import statistics
import sys
import time

CLASSES = 102
# What is trained, and how many rows a step has. bench/networks.ts has the same names.
NETWORKS = {
    "last-block": {"batch": 32},  # block 16, Conv_1, pooling and dense of MobileNetV2, from stored block_15_add; frozen batch norm
    "mobilenet-frozen": {"batch": 32},  # MobileNetV2 1.0 at 224 pixels, all layers; batch norm with moving statistics, its scales and offsets trained
    "mobilenet-batch": {"batch": 32},  # the same with batch statistics
    "mixed7-head": {"batch": 20},  # flatten 37632 -> dense 1024, relu -> dense 1, sigmoid; RMSprop
    "head-32": {"batch": 32},  # dense 1280 -> 102
    "head-96": {"batch": 96},
    "resnet18": {"batch": 32},  # version 1 at 224 pixels, all layers, batch statistics
}
WARM_UP = 3


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20, help="for how long steps are timed; five at least")
    options = parser.parse_args()
    return options.network, NETWORKS[options.network]["batch"], options.threads, options.seconds


def steps_for(seconds, step):
    """As many steps as take so long, by one that is timed after the warm-up."""
    for _ in range(WARM_UP):
        step()
    start = time.perf_counter()
    step()
    return min(5_000, max(5, int(seconds / (time.perf_counter() - start))))


def timed(step, steps):
    """Milliseconds of each step."""
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1000)
    return times


def report(peer, network, batch, threads, times):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    figures = {"milliseconds": statistics.median(times), "minimum": min(times), "steps": len(times), "peakBytes": peak}
    print(json.dumps({"peer": peer, "network": network, "batch": batch, "threads": threads, **figures}), flush=True)
