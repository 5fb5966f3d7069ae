"""What recipes_keras.py and recipes_torch.py share: made-up batches and weights, three steps of training, and the figures of what comes out.

Batches and weights come from formulas that made-up-recipe.ts repeats, so that both sides start from the same bits. Each recipe is trained twice: in float64, whose
figures are written, and in float32, to see how far the framework's own float32 is from it. The figures of a tensor are

    [root mean square, projection, root mean square of what the framework's float32 deviates by, values at 0/5, 1/5, ... of the tensor]

all but the first relative to the first. Written are those of every trained tensor's gradient in each step and of its change over all steps, with values for the first
step only, to keep the file small (the projection sees every element), and of the change of moving statistics.
"""

import json
import pathlib

import made_up_weights
import numpy as np

STEPS = 3
MOMENTUM = 0.99


def recipe(name, **fields):
    """
    All fields of a recipe. `cut` with `topology` is where the trained tail begins; without `topology` the head alone is trained. `grains` are the numbers of
    grains to train with.
    """
    defaults = {"topology": None, "cut": None, "hidden": [], "loss": "softmax", "outputDeviation": None, "outputMultiplier": 1, "weightDecay": 0, "grains": [1, 8]}
    return {"recipe": name, **defaults, **fields}


def batch(recipe, step):
    """Features [batch, ...] (float32, or uint8 pixels of three by three coloured cells and noise) and class numbers [batch] of one step."""
    shape = (recipe["batch"], *recipe["inputShape"])
    values = made_up_weights.uniform(f"features/{step}", int(np.prod(shape))).reshape(shape)
    if recipe["features"] == "pixels":
        rows, size, _, channels = shape
        cells = made_up_weights.uniform(f"cells/{step}", rows * 3 * 3 * channels).reshape(rows, 3, 3, channels)
        cells = cells.repeat(size // 3, axis=1).repeat(size // 3, axis=2)
        features = np.floor((1 + 0.75 * cells + 0.25 * values) * 128).astype(np.uint8)
    else:
        features = (np.abs(values) if recipe["features"] == "nonNegative" else values).astype(np.float32)
    labels = np.floor((made_up_weights.uniform(f"labels/{step}", recipe["batch"]) + 1) / 2 * recipe["classes"])
    return features, labels.astype(np.int64)


def weight(recipe, name, shape):
    """
    The initial value of a tensor, by graft's name and in its order of axes.

    Batch norms start with scales about 0.1 and offsets about 0.7 or, in a tenth of the channels, -0.7, so that hardly any activation lies near a kink of relu or relu6: a last bit
    that is rounded the other way takes an activation over a kink, and in or out of the gradient. With scales about 1 and offsets about 0 float32 is 1 % from float64 in the first
    step of MobileNetV2 and has nothing to do with it in the third.
    """
    deviation = recipe["outputDeviation"]
    if deviation is not None and name == "head/output/kernel":
        return (made_up_weights.uniform(name, int(np.prod(shape))) * (deviation * np.sqrt(3))).astype(np.float32).reshape(shape)
    if deviation is not None and name == "head/output/bias":
        return np.zeros(shape, np.float32)
    made = made_up_weights.tensor(name, shape).astype(np.float64)
    if name.endswith("/gamma"):
        made = 0.1 * made
    elif name.endswith("/beta"):
        made = np.where(made > -0.2, 0.7 + made, made - 0.7)
    return made.astype(np.float32)


def three_steps(recipe, grains, training):
    """
    Trains three steps; a grain's share of loss, gradient and moving statistics is its share of the batch's rows.

    `training` offers parameters() and statistics() as {name: array}, gradient(features, labels), which gives the mean loss, {name: gradient} without weight decay and the
    moving statistics as they are after these rows, and update(gradient, statistics).
    """
    parameters, moving = training.parameters(), training.statistics()
    losses, gradients = [], []
    for step in range(STEPS):
        features, labels = batch(recipe, step)
        sums = {"loss": 0.0, "gradient": {}, "statistics": {}}
        for grain in range(grains):
            rows = slice(recipe["batch"] * grain // grains, recipe["batch"] * (grain + 1) // grains)
            share = (rows.stop - rows.start) / recipe["batch"]
            loss, gradient, statistics = training.gradient(features[rows], labels[rows])
            sums["loss"] += share * loss
            for kind, parts in (("gradient", gradient), ("statistics", statistics)):
                for name, part in parts.items():
                    sums[kind][name] = (sums[kind].get(name, 0) + share * part).astype(part.dtype)
        training.update(sums["gradient"], sums["statistics"])
        losses.append(float(sums["loss"]))
        gradients.append(sums["gradient"])

    def since(before, now):
        return {name: now[name] - value for name, value in before.items()}

    return {"losses": losses, "gradients": gradients, "changes": since(parameters, training.parameters()), "statistics": since(moving, training.statistics())}


def short(value, digits):
    return float(f"{value:.{digits}g}")


def projection(name, flat):
    """The sum of all elements, each times its own number from -1 to 1: about as large as the root mean square."""
    return np.sum(flat * made_up_weights.uniform(f"projection/{name}", flat.size)) / np.sqrt(flat.size / 3)


def root_mean_square(array):
    return np.sqrt(np.mean(array * array))


def figures(name, exact, single, values=0):
    flat = np.asarray(exact, np.float64).reshape(-1)
    rms = root_mean_square(flat)
    if rms == 0:
        return [0, 0, 0, *([0] * values)]
    deviation = root_mean_square(np.asarray(single, np.float64).reshape(-1) - flat)
    relative = [projection(name, flat), *(flat[flat.size * i // values] for i in range(values))]
    projected, *places = (round(float(value / rms), 4) for value in relative)
    return [short(rms, 5), projected, short(deviation / rms, 2), *places]


def case(recipe, grains, open_training):
    exact, single = (three_steps(recipe, grains, open_training(recipe, dtype)) for dtype in ("float64", "float32"))
    print(recipe["recipe"], grains, exact["losses"], single["losses"], flush=True)
    trained = {}
    for name in sorted(exact["changes"]):
        gradients = [figures(name, exact["gradients"][step][name], single["gradients"][step][name], 0 if step else 5) for step in range(STEPS)]
        trained[name] = [*gradients, figures(name, exact["changes"][name], single["changes"][name])]
    return {
        "grains": grains,
        "losses": [[short(loss, 7), short(abs(other - loss) / loss, 2)] for loss, other in zip(exact["losses"], single["losses"])],
        "trained": trained,
        "statistics": {name: figures(name, value, single["statistics"][name]) for name, value in sorted(exact["statistics"].items())},
    }


def lines(tensors):
    return "{" + ",".join(f"\n{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}" for name, value in tensors.items()) + "}"


def write(script, made_with, recipes, open_training):
    """Beside the script, one tensor a line."""
    written = []
    for fields in recipes:
        cases = [case(fields, grains, open_training) for grains in fields["grains"]]
        texts = [
            f'{{"grains":{made["grains"]},"losses":{json.dumps(made["losses"])},\n'
            + ",\n".join(f'"{kind}":{lines(made[kind])}' for kind in ("trained", "statistics"))
            + "}"
            for made in cases
        ]
        description = {name: value for name, value in fields.items() if name != "grains"}
        written.append(f'{json.dumps(description)[:-1]},\n"cases":[' + ",\n".join(texts) + "]}")
    path = pathlib.Path(script).with_suffix(".json")
    path.write_text(f'{{"madeWith":{json.dumps(made_with)},\n"recipes":[\n' + ",\n".join(written) + "]}\n")
