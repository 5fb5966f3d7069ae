"""Writes gradients.json: losses and gradients of small dense tails by JAX's automatic differentiation in float64.

    pip install jax numpy && python test/golden/gradients.py

Parameters are named as in graft; platform/engine/onnx/golden.test.ts compares.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

CASES = [
    {"name": "softmax", "features": 6, "hidden": [], "outputs": 4, "loss": "softmax", "smoothing": 0.0, "rows": 6},
    {"name": "softmax with smoothing, two hidden layers and dropout", "features": 7, "hidden": [5, 6], "outputs": 3, "loss": "softmax", "smoothing": 0.1, "rows": 8},
    {"name": "one sigmoid", "features": 5, "hidden": [4], "outputs": 1, "loss": "sigmoid", "smoothing": 0.0, "rows": 6},
    {"name": "one sigmoid with smoothing", "features": 5, "hidden": [], "outputs": 1, "loss": "sigmoid", "smoothing": 0.2, "rows": 4},
]


def total_loss(parameters, case, features, labels, row_weights, masks):
    x = features
    for i, _ in enumerate(case["hidden"]):
        x = x * masks[i]
        x = jax.nn.relu(x @ parameters[f"hidden_{i}/kernel"] + parameters[f"hidden_{i}/bias"])
    logits = x @ parameters["output/kernel"] + parameters["output/bias"]
    smoothing = case["smoothing"]
    if case["loss"] == "softmax":
        classes = logits.shape[1]
        targets = (1 - smoothing) * jax.nn.one_hot(labels, classes) + smoothing / classes
        losses = -jnp.sum(targets * jax.nn.log_softmax(logits), axis=1)
    else:
        z = logits[:, 0]
        targets = (1 - smoothing) * labels + smoothing / 2
        losses = jax.nn.softplus(z) - targets * z
    return jnp.sum(row_weights * losses)


def main():
    random = np.random.default_rng(20)
    results = []
    for case in CASES:
        # Inputs are rounded to float32 first, so that both sides start from the same numbers.
        def draw(*shape):
            return random.normal(size=shape).astype(np.float32).astype(np.float64)

        widths = [case["features"], *case["hidden"], case["outputs"]]
        parameters = {}
        for i, (n, m) in enumerate(zip(widths, widths[1:])):
            layer = "output" if i == len(widths) - 2 else f"hidden_{i}"
            parameters[f"{layer}/kernel"] = draw(n, m)
            parameters[f"{layer}/bias"] = draw(m)
        rows = case["rows"]
        features = draw(rows, case["features"])
        labels = random.integers(0, max(2, case["outputs"]), rows)
        row_weights = random.choice([0.0, 0.5, 1.0, 2.0], rows)
        masks = [random.choice([0.0, 2.0], (rows, width)) for width in widths[: len(case["hidden"])]]
        loss, gradient = jax.value_and_grad(total_loss)(parameters, case, features, labels, row_weights, masks)

        def flat(array):
            return [float(value) for value in np.asarray(array).ravel()]

        results.append(
            {
                **case,
                "inputs": {"features": flat(features), "labels": labels.tolist(), "rowWeights": flat(row_weights), "masks": [flat(mask) for mask in masks]},
                "parameters": {name: flat(value) for name, value in parameters.items()},
                "totalLoss": float(loss),
                "gradient": {name: flat(value) for name, value in gradient.items()},
            }
        )
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"jax": jax.__version__, "cases": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
