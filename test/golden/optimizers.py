"""Writes optimizers.json: the weights of eight parameters after 200 steps of each optimiser, computed by Keras (any backend) and, for weight decay in the gradient, by NumPy in float64.

    pip install keras jax numpy && KERAS_BACKEND=jax python test/golden/optimizers.py

Gradient of element i at step t: sin(0.7 i + 0.05 t) + 0.3 w_i (computed in float64, rounded to float32).
"""

import json
import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "jax")
import keras
import numpy as np

COUNT, STEPS = 8, 200
START = [0.5 * np.cos(1.3 * i) for i in range(COUNT)]


def gradient(weights, step):
    i = np.arange(COUNT, dtype=np.float64)
    return np.sin(0.7 * i + 0.05 * step) + 0.3 * np.asarray(weights, dtype=np.float64)


def by_keras(optimizer):
    variable = keras.Variable(np.array(START, dtype=np.float32), name="kernel")
    optimizer.build([variable])
    for step in range(STEPS):
        optimizer.apply([keras.ops.convert_to_tensor(gradient(variable.numpy(), step).astype(np.float32))])
    return variable.numpy()


def coupled(update):
    """`update(w, g, state, t)` in float64, with weight decay 0.01 added to the gradient."""
    weights, state = np.array(START, dtype=np.float64), {}
    for step in range(STEPS):
        weights = update(weights, gradient(weights, step) + 0.01 * weights, state, step + 1)
    return weights


def sgd_momentum(w, g, state, t):
    state["v"] = 0.9 * state.get("v", 0.0) - 0.01 * g
    return w + state["v"]


def rmsprop(w, g, state, t):
    state["s"] = 0.9 * state.get("s", 0.0) + 0.1 * g * g
    return w - 0.01 * g / np.sqrt(state["s"] + 1e-7)


def adam(w, g, state, t):
    state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    state["s"] = 0.999 * state.get("s", 0.0) + 0.001 * g * g
    return w - 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * state["m"] / (np.sqrt(state["s"]) + 1e-7)


optimizers = keras.optimizers
cases = [
    ("sgd", {"kind": "sgd", "momentum": 0, "nesterov": False}, 0, by_keras(optimizers.SGD(0.01))),
    ("sgd momentum", {"kind": "sgd", "momentum": 0.9, "nesterov": False}, 0, by_keras(optimizers.SGD(0.01, momentum=0.9))),
    ("sgd nesterov", {"kind": "sgd", "momentum": 0.9, "nesterov": True}, 0, by_keras(optimizers.SGD(0.01, momentum=0.9, nesterov=True))),
    ("rmsprop", {"kind": "rmsprop", "decay": 0.9, "momentum": 0, "epsilon": 1e-7}, 0, by_keras(optimizers.RMSprop(0.01, rho=0.9))),
    ("rmsprop momentum", {"kind": "rmsprop", "decay": 0.9, "momentum": 0.5, "epsilon": 1e-7}, 0, by_keras(optimizers.RMSprop(0.01, rho=0.9, momentum=0.5))),
    ("adam", {"kind": "adam", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}, 0, by_keras(optimizers.Adam(0.01))),
    ("adamw", {"kind": "adamw", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}, 0.01, by_keras(optimizers.AdamW(0.01, weight_decay=0.01))),
    ("sgd momentum, decay", {"kind": "sgd", "momentum": 0.9, "nesterov": False}, 0.01, coupled(sgd_momentum)),
    ("rmsprop, decay", {"kind": "rmsprop", "decay": 0.9, "momentum": 0, "epsilon": 1e-7}, 0.01, coupled(rmsprop)),
    ("adam, decay", {"kind": "adam", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}, 0.01, coupled(adam)),
]
golden = {
    "origin": f"Keras {keras.__version__} on {keras.backend.backend()}, NumPy {np.__version__}",
    "learningRate": 0.01,
    "steps": STEPS,
    "start": [float(np.float32(x)) for x in START],
    "cases": [
        {"name": name, "optimizer": {**optimizer, "learningRate": 0.01}, "weightDecay": decay, "weights": [float(x) for x in weights]}
        for name, optimizer, decay, weights in cases
    ],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
