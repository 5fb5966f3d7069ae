"""Loss and gradient of every network of the catalogue by PyTorch in float64, and how far its float32 is from them. network-gradients.all.test.ts compares.

    pip install torch==2.15.0 numpy && python test/golden/network_gradients.py

Batches and weights come from the formulas of recipes.py, which made-up-recipe.ts repeats: both sides start from the same bits, and hardly any activation lies near a
kink of relu (`start`). A head of one dense layer stands on each network; the loss is the sum of the rows' cross-entropies. Networks are written anew here, with the names and the order of
axes that graft has; topologies_*.py show that these are the networks of their authors.

The figures of a gradient are

    [place of its largest element, that element, projection, values at 0/5, 1/5, ... of the tensor]

Frozen norms have the statistics of this batch, rounded to the upper halves of their float32 (`statistics`, in base64 and in the order of the tensors' names), as a
trained network has those of its pictures. With made-up ones, activations become the same at every place of a picture after a few layers.

The error of a figure is relative to the largest element. `float32` holds the largest errors of PyTorch's float32, in two orders of adding up (channels first, channels
last): over all elements of all tensors, and over the figures. A tensor whose gradient cancels out, an offset below another batch norm for instance, has no relative
error: it is nothing beside the largest of the network, and is listed by name only.
"""

import base64
import json
import pathlib

import numpy as np
import recipes
import torch
from made_up_weights import uniform
from torch.nn import functional

WITHOUT_NORMS = ("squeezenet_1.1", "vgg16")
CLASSES = 5
BATCH = 4
VALUES = 5
NOTHING = 1e-9
CAFFE = ([103.939, 116.779, 123.68], [1, 1, 1])
SCALED = ([127.5] * 3, [127.5] * 3)
IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])


def start(recipe, name, shape):
    """
    The formulas of recipes.weight, with other sizes where these keep kinks, and near ties of a maximum, rarer (measured by what float32 is off): norms scale to about
    0.2 and then add about 0.7 or -0.7. Inception's do not scale, so their offsets are four times as large. The first kernel of a network without norms takes pixels from
    -128 to 128. relu6 never reaches 6 here; test/conformance sees to that.
    """
    factor = 1
    if recipe["recipe"] in WITHOUT_NORMS:
        factor = 1 / 128 if name in ("conv1/kernel", "block1_conv1/kernel") else 1
    elif name.endswith("/gamma"):
        factor = 2
    elif name.endswith("/beta") and recipe["recipe"] == "inception_v3":
        factor = 4
    return recipes.weight(recipe, name, shape) * np.float32(factor)


class Run:
    """
    One forward pass; tensors by graft's names are made when a layer asks for them. Norms use the statistics that are given or, without any, those of the batch, which
    they leave in `seen`.
    """

    def __init__(self, recipe, statistics, dtype, memory_format):
        self.recipe, self.statistics, self.dtype, self.memory_format = recipe, statistics, dtype, memory_format
        self.parameters, self.seen = {}, {}

    def tensor(self, name, shape):
        self.parameters[name] = torch.from_numpy(start(self.recipe, name, shape)).to(self.dtype).requires_grad_()
        return self.parameters[name]

    def conv(self, name, x, filters, kernel, stride=1, padding="SAME", bias=False, each=False):
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        channels = x.shape[1]
        if each:
            values = self.tensor(f"{name}/depthwise_kernel", (rows, columns, channels, 1)).permute(2, 3, 0, 1)
        else:
            values = self.tensor(f"{name}/kernel", (rows, columns, channels, filters)).permute(3, 2, 0, 1)
        if padding == "SAME":
            x = functional.pad(x, [*same(x.shape[3], columns, stride), *same(x.shape[2], rows, stride)])
            padding = 0
        values = values.contiguous(memory_format=self.memory_format)
        offset = self.tensor(f"{name}/bias", (filters,)) if bias else None
        return functional.conv2d(x, values, offset, stride, padding, groups=channels if each else 1)

    def norm(self, name, x, epsilon, scale=True, center=True):
        shape = (x.shape[1],)
        gamma = self.tensor(f"{name}/gamma", shape) if scale else None
        beta = self.tensor(f"{name}/beta", shape) if center else None
        names = (f"{name}/moving_mean", f"{name}/moving_variance")
        if self.statistics is None:
            self.seen |= zip(names, (x.detach().mean((0, 2, 3)), x.detach().var((0, 2, 3), correction=0)))
            return functional.batch_norm(x, None, None, gamma, beta, training=True, eps=epsilon)
        moving = [torch.from_numpy(self.statistics[name]).to(self.dtype) for name in names]
        return functional.batch_norm(x, *moving, gamma, beta, training=False, eps=epsilon)

    def dense(self, name, x, units):
        return x @ self.tensor(f"{name}/kernel", (x.shape[1], units)) + self.tensor(f"{name}/bias", (units,))


def same(size, kernel, stride):
    amount = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return amount // 2, amount - amount // 2


def channels(filters, width):
    filters *= width
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def mobilenet_v1(run, x, width):
    def active(name, x):
        return functional.relu6(run.norm(f"{name}_bn", x, 1e-3))

    x = active("conv1", run.conv("conv1", x, int(32 * width), 3, 2))
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for number, (filters, stride) in enumerate(blocks, 1):
        x = active(f"conv_dw_{number}", run.conv(f"conv_dw_{number}", x, None, 3, stride, each=True))
        x = active(f"conv_pw_{number}", run.conv(f"conv_pw_{number}", x, int(filters * width), 1))
    return x


def mobilenet_v2(run, x, width):
    def norm(name, x):
        return run.norm(name, x, 1e-3)

    def separable(prefix, x, stride, filters):
        x = functional.relu6(norm(f"{prefix}depthwise_BN", run.conv(f"{prefix}depthwise", x, None, 3, stride, each=True)))
        return norm(f"{prefix}project_BN", run.conv(f"{prefix}project", x, filters, 1))

    x = functional.relu6(norm("bn_Conv1", run.conv("Conv1", x, channels(32, width), 3, 2)))
    x = separable("expanded_conv_", x, 1, channels(int(16 * width), 1))
    blocks = [(24, 2), (24, 1), (32, 2), *[(32, 1)] * 2, (64, 2), *[(64, 1)] * 3, *[(96, 1)] * 3, (160, 2), *[(160, 1)] * 2, (320, 1)]
    for number, (filters, stride) in enumerate(blocks, 1):
        prefix, before = f"block_{number}_", x
        x = functional.relu6(norm(f"{prefix}expand_BN", run.conv(f"{prefix}expand", x, 6 * x.shape[1], 1)))
        x = separable(prefix, x, stride, channels(int(filters * width), 1))
        if stride == 1 and x.shape == before.shape:
            x = before + x
    return functional.relu6(norm("Conv_1_bn", run.conv("Conv_1", x, 1280, 1)))


def squeezenet(run, x, _):
    def active(name, x, filters, kernel):
        return functional.relu(run.conv(name, x, filters, kernel, bias=True))

    x = functional.relu(run.conv("conv1", x, 64, 3, 2, padding=0, bias=True))
    x = functional.max_pool2d(x, 3, 2)
    for number, (squeeze, expand) in enumerate([(16, 64)] * 2 + [(32, 128)] * 2 + [(48, 192)] * 2 + [(64, 256)] * 2, 2):
        x = active(f"fire{number}/squeeze1x1", x, squeeze, 1)
        x = torch.cat([active(f"fire{number}/expand1x1", x, expand, 1), active(f"fire{number}/expand3x3", x, expand, 3)], 1)
        if number in (3, 5):
            x = functional.max_pool2d(x, 3, 2)
    return x


def inception_v3(run, x, _):
    count = 0

    def conv(x, filters, kernel, stride=1, padding="SAME"):
        nonlocal count
        count += 1
        x = run.conv(f"conv2d_{count}", x, filters, kernel, stride, padding)
        return functional.relu(run.norm(f"batch_normalization_{count}", x, 1e-3, scale=False))

    def halve(x):
        return functional.max_pool2d(x, 3, 2)

    def smooth(x):
        return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    x = conv(conv(x, 32, 3, 2, 0), 32, 3, 1, 0)
    x = halve(conv(x, 64, 3))
    x = halve(conv(conv(x, 80, 1, 1, 0), 192, 3, 1, 0))
    for pooled in (32, 64, 64):
        one = conv(x, 64, 1)
        five = conv(conv(x, 48, 1), 64, 5)
        three = conv(conv(conv(x, 64, 1), 96, 3), 96, 3)
        x = torch.cat([one, five, three, conv(smooth(x), pooled, 1)], 1)
    single = conv(x, 384, 3, 2, 0)
    double = conv(conv(conv(x, 64, 1), 96, 3), 96, 3, 2, 0)
    x = torch.cat([single, double, halve(x)], 1)
    for inner in (128, 160, 160, 192):
        one = conv(x, 192, 1)
        seven = conv(conv(conv(x, inner, 1), inner, (1, 7)), 192, (7, 1))
        twice = conv(conv(conv(x, inner, 1), inner, (7, 1)), inner, (1, 7))
        twice = conv(conv(twice, inner, (7, 1)), 192, (1, 7))
        x = torch.cat([one, seven, twice, conv(smooth(x), 192, 1)], 1)
    three = conv(conv(x, 192, 1), 320, 3, 2, 0)
    seven = conv(conv(conv(conv(x, 192, 1), 192, (1, 7)), 192, (7, 1)), 192, 3, 2, 0)
    x = torch.cat([three, seven, halve(x)], 1)
    for _ in range(2):
        one = conv(x, 320, 1)
        start = conv(x, 384, 1)
        three = torch.cat([conv(start, 384, (1, 3)), conv(start, 384, (3, 1))], 1)
        start = conv(conv(x, 448, 1), 384, 3)
        twice = torch.cat([conv(start, 384, (1, 3)), conv(start, 384, (3, 1))], 1)
        x = torch.cat([one, three, twice, conv(smooth(x), 192, 1)], 1)
    return x


def resnet_v1(blocks, bottleneck):
    def build(run, x, _):
        def convolved(prefix, number, x, filters, kernel, stride):
            return run.norm(f"{prefix}.bn{number}", run.conv(f"{prefix}.conv{number}", x, filters, kernel, stride, kernel // 2), 1e-5)

        def block(prefix, before, width, stride):
            filters = 4 * width if bottleneck else width
            steps = [(width, 1, 1), (width, 3, stride), (filters, 1, 1)] if bottleneck else [(width, 3, stride), (filters, 3, 1)]
            x = before
            for number, step in enumerate(steps, 1):
                x = convolved(prefix, number, x if number == 1 else functional.relu(x), *step)
            if stride > 1 or before.shape[1] != filters:
                before = run.norm(f"{prefix}.downsample.1", run.conv(f"{prefix}.downsample.0", before, filters, 1, stride, 0), 1e-5)
            return functional.relu(x + before)

        x = functional.relu(run.norm("bn1", run.conv("conv1", x, 64, 7, 2, 3), 1e-5))
        x = functional.max_pool2d(x, 3, 2, 1)
        for stage, (width, count) in enumerate(zip((64, 128, 256, 512), blocks), 1):
            for index in range(count):
                x = block(f"layer{stage}.{index}", x, width, 2 if stage > 1 and index == 0 else 1)
        return x

    return build


def resnet_v2(blocks, bottleneck):
    def build(run, x, _):
        def active(name, x):
            return functional.relu(run.norm(name, x, 1e-5))

        def block(prefix, before, width, stride):
            filters = 4 * width if bottleneck else width
            start = active(f"{prefix}.bn1", before)
            steps = [(width, 1, 1), (width, 3, stride), (filters, 1, 1)] if bottleneck else [(width, 3, stride), (filters, 3, 1)]
            x = start
            for number, (outputs, kernel, step) in enumerate(steps, 1):
                x = x if number == 1 else active(f"{prefix}.bn{number}", x)
                x = run.conv(f"{prefix}.conv{number}", x, outputs, kernel, step, kernel // 2)
            return x + (before if before.shape[1] == filters else run.conv(f"{prefix}.downsample", start, filters, 1, stride, 0))

        x = run.norm("features.0", x, 1e-5, scale=False, center=False)
        x = active("features.2", run.conv("features.1", x, 64, 7, 2, 3))
        x = functional.max_pool2d(x, 3, 2, 1)
        for stage, (width, count) in enumerate(zip((64, 128, 256, 512), blocks), 5):
            for index in range(count):
                x = block(f"features.{stage}.{index}", x, width, 2 if stage > 5 and index == 0 else 1)
        return active("features.9", x)

    return build


def vgg16(run, x, _):
    for block, (count, filters) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        for number in range(1, count + 1):
            x = functional.relu(run.conv(f"block{block}_conv{number}", x, filters, 3, bias=True))
        x = functional.max_pool2d(x, 2)
    return x


R18, R50 = ((2, 2, 2, 2), False), ((3, 4, 6, 3), True)
# Topology, width, size, what builds it, mean and deviation of its pixels, standard deviation of the head's kernel: so that logits are about 1.
NETWORKS = [
    ("mobilenet_v1", 0.25, 96, mobilenet_v1, SCALED, 0.1),
    ("mobilenet_v2", 0.35, 96, mobilenet_v2, SCALED, 0.1),
    ("mobilenet_v2", 1, 96, mobilenet_v2, SCALED, 0.1),
    ("inception_v3", 1, 111, inception_v3, SCALED, 0.01),
    ("resnet18_v1", 1, 66, resnet_v1(*R18), IMAGENET, 0.05),
    ("resnet50_v1", 1, 66, resnet_v1(*R50), IMAGENET, 0.02),
    ("resnet18_v2", 1, 66, resnet_v2(*R18), IMAGENET, 0.1),
    ("resnet50_v2", 1, 66, resnet_v2(*R50), IMAGENET, 0.05),
    ("squeezenet_1.1", 1, 66, squeezenet, CAFFE, 0.1),
    ("vgg16", 1, 33, vgg16, CAFFE, 0.1),
]


def gradient(recipe, build, values, statistics, dtype, memory_format=torch.contiguous_format):
    """Loss; gradients by name, each flat in graft's order; statistics of the batch by name."""
    features, labels = recipes.batch(recipe, 0)
    mean, deviation = (torch.tensor(each, dtype=dtype) for each in values)
    pixels = torch.from_numpy(features if values is not CAFFE else features[..., ::-1].copy()).to(dtype)
    x = ((pixels - mean) / deviation).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    run = Run(recipe, statistics, dtype, memory_format)
    logits = run.dense("head/output", build(run, x, recipe["topology"]["width"]).mean((2, 3)), recipe["classes"])
    loss = functional.cross_entropy(logits, torch.from_numpy(labels), reduction="sum")
    loss.backward()
    gradients = {name: value.grad.numpy().reshape(-1).astype(np.float64) for name, value in run.parameters.items()}
    return loss.item(), gradients, {name: value.numpy().astype(np.float32) for name, value in run.seen.items()}


def upper_halves(statistics):
    """Statistics of the 16 upper bits of each float32, and these bits in base64."""
    bits = {name: values.view(np.uint32) >> 16 for name, values in statistics.items()}
    text = base64.b64encode(b"".join(bits[name].astype("<u2").tobytes() for name in sorted(bits))).decode()
    return {name: (values << 16).astype(np.uint32).view(np.float32) for name, values in bits.items()}, text


def figures(name, values, place):
    projection = float((uniform(f"projection/{name}", values.size) * values).sum() / np.sqrt(values.size / 3))
    return [float(values[place]), projection, *(float(values[values.size * i // VALUES]) for i in range(VALUES))]


def measure(topology, width, size, build, values, deviation, statistics):
    """The figures, with these statistics or those of the batch; and the latter."""
    recipe = recipes.recipe(topology, batch=BATCH, inputShape=[size, size, 3], features="pixels", classes=CLASSES, outputDeviation=deviation)
    recipe |= {"topology": {"width": width}}
    batch_norm = "BATCH" if statistics is None else "FROZEN"
    loss, exact, seen = gradient(recipe, build, values, statistics, torch.float64)
    orders = (torch.contiguous_format, torch.channels_last)
    rounded = [gradient(recipe, build, values, statistics, torch.float32, order)[1] for order in orders]
    largest = max(np.abs(value).max() for value in exact.values())
    cancelled = sorted(name for name, value in exact.items() if np.abs(value).max() < NOTHING * largest)
    tensors, of_all, of_figures = {}, {}, {}
    for name, value in sorted(exact.items()):
        if name in cancelled:
            continue
        place = int(np.abs(value).argmax())
        scale = abs(value[place])
        wanted = figures(name, value, place)
        of_all[name] = max(np.abs(other[name] - value).max() for other in rounded) / scale
        of_figures[name] = max(np.abs(np.subtract(figures(name, other[name], place), wanted)).max() for other in rounded) / scale
        tensors[name] = [place, *(float(f"{figure:.9g}") for figure in wanted)]
    nothing = max((np.abs(other[name]).max() / largest for other in rounded for name in cancelled), default=0)
    errors = {"all": max(of_all.values()), "figures": max(of_figures.values()), "cancelled": nothing}
    print(f"{topology} {width} {batch_norm}: loss {loss:.4f}", {key: f"{error:.1e}" for key, error in errors.items()}, max(of_all, key=of_all.get), flush=True)
    measured = {
        **{"topology": topology, "width": width, "size": size, "batchNorm": batch_norm, "batch": BATCH, "classes": CLASSES},
        **{"outputDeviation": deviation, "loss": loss, "float32": {key: float(f"{error:.3g}") for key, error in errors.items()}},
        **{"cancelled": cancelled, "tensors": tensors},
    }
    return measured, seen


def main():
    torch.set_num_threads(1)
    networks = []
    for network in NETWORKS:
        statistics = {}
        if network[0] not in WITHOUT_NORMS:
            measured, seen = measure(*network, None)
            networks.append({**measured, "statistics": ""})
            statistics, text = upper_halves(seen)
        networks.append({**measure(*network, statistics)[0], "statistics": text if statistics else ""})
    lines = []
    for network in networks:
        tensors = network.pop("tensors")
        head = ",\n".join(f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in network.items())
        rows = ",\n".join(f"    {json.dumps(name)}: {json.dumps(values)}" for name, values in tensors.items())
        lines.append(f'  {{\n{head},\n   "tensors": {{\n{rows}\n   }}\n  }}')
    made_with = f"torch {torch.__version__}, numpy {np.__version__}"
    text = f'{{\n "madeWith": {json.dumps(made_with)},\n "networks": [\n' + ",\n".join(lines) + "\n ]\n}\n"
    pathlib.Path(__file__).with_suffix(".json").write_text(text)


if __name__ == "__main__":
    main()
