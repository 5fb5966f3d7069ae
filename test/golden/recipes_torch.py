"""Losses, gradients and updates of the hot dog recipes' first three steps, by PyTorch. recipes.py says how, recipes.all.test.ts compares.

    pip install torch==2.15.0 numpy && python test/golden/recipes_torch.py

ResNet-18 of version 2 with the modules' names as Gluon has them; topologies_gluon.py shows that graft's network is Gluon's own. The pictures are of 96 pixels, not of 224.
"""

import collections
import functools

import numpy as np
import recipes
import torch
from torch.nn.functional import batch_norm, cross_entropy, relu

IMAGENET_MEAN, IMAGENET_DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
RESNET18 = {"topology": {"name": "resnet18_v2", "width": 1, "size": 96}, "cut": "input", "inputShape": [96, 96, 3], "features": "pixels"}
HOTDOG = functools.partial(recipes.recipe, optimizer={"kind": "sgd", "momentum": 0, "nesterov": False}, weightDecay=0.001, outputs=2, classes=2, batch=32)
RECIPES = [
    HOTDOG("resnet18-hotdog-fine-tune", **RESNET18, learningRate=0.01, outputMultiplier=10),
    HOTDOG("resnet18-hotdog-scratch", **RESNET18, learningRate=0.1),
    HOTDOG("resnet18-hotdog-frozen", inputShape=[512], features="nonNegative", learningRate=0.01),
]


class BatchNorm(torch.nn.BatchNorm2d):
    """Statistics of the rows at hand; the moving variance follows the biased variance, not the unbiased one as PyTorch's own does."""

    def forward(self, x):
        with torch.no_grad():
            for moving, now in ((self.running_mean, x.mean((0, 2, 3))), (self.running_var, x.var((0, 2, 3), correction=0))):
                moving.mul_(recipes.MOMENTUM).add_(now, alpha=1 - recipes.MOMENTUM)
        return batch_norm(x, None, None, self.weight, self.bias, training=True, eps=1e-5)


def convolution(inputs, outputs, size, stride):
    return torch.nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, bias=False)


class Block(torch.nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.conv1 = BatchNorm(inputs), convolution(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = BatchNorm(outputs), convolution(outputs, outputs, 3, 1)
        self.downsample = None if inputs == outputs else convolution(inputs, outputs, 1, stride)

    def forward(self, x):
        active = relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(active)
        return self.conv2(relu(self.bn2(self.conv1(active)))) + shortcut


def resnet18_v2():
    def stage(inputs, outputs, stride):
        return torch.nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1))

    pool = torch.nn.MaxPool2d(3, 2, 1)
    stages = [stage(64, 64, 1), stage(64, 128, 2), stage(128, 256, 2), stage(256, 512, 2)]
    tail = [BatchNorm(512), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(BatchNorm(3, affine=False), convolution(3, 64, 7, 2), BatchNorm(64), torch.nn.ReLU(), pool, *stages, *tail)


def build(recipe):
    features = resnet18_v2() if recipe["topology"] else torch.nn.Identity()
    output = torch.nn.Linear(512, recipe["outputs"])
    return torch.nn.Sequential(collections.OrderedDict(features=features, output=output))


PARTS = {"running_mean": "moving_mean", "running_var": "moving_variance"}


def name_of(name, value):
    """`features.5.0.bn1.weight` to `features.5.0.bn1/gamma`; the new output layer belongs to the head."""
    layer, part = name.rsplit(".", 1)
    norm = value.ndim == 1 and layer != "output"
    part = PARTS.get(part) or ({"weight": "gamma", "bias": "beta"} if norm else {"weight": "kernel", "bias": "bias"})[part]
    return f"{'head/output' if layer == 'output' else layer}/{part}"


def to_graft(value):
    """[out, in, height, width] and [out, in] to graft's order of axes."""
    return value.permute(2, 3, 1, 0) if value.ndim == 4 else value.T if value.ndim == 2 else value


def from_graft(value):
    return value.permute(3, 2, 0, 1) if value.ndim == 4 else value.T if value.ndim == 2 else value


class Training:
    def __init__(self, recipe, dtype):
        self.recipe, self.dtype = recipe, getattr(torch, dtype)
        self.model = build(recipe).to(self.dtype)
        self.trained = {name_of(name, value): value for name, value in self.model.named_parameters()}
        self.moving = {name_of(name, value): value for name, value in self.model.named_buffers() if not name.endswith("num_batches_tracked")}
        with torch.no_grad():
            for name, value in {**self.trained, **self.moving}.items():
                value.copy_(from_graft(torch.from_numpy(recipes.weight(recipe, name, tuple(to_graft(value).shape)))))
        rate = recipe["learningRate"]
        output = [value for name, value in self.trained.items() if name.startswith("head/")]
        others = [value for name, value in self.trained.items() if not name.startswith("head/")]
        groups = [{"params": output, "lr": rate * recipe["outputMultiplier"]}, *([{"params": others, "lr": rate}] if others else [])]
        self.optimizer = torch.optim.SGD(groups, lr=rate, weight_decay=recipe["weightDecay"])

    def parameters(self):
        return {name: to_graft(value.detach()).numpy().copy() for name, value in self.trained.items()}

    def statistics(self):
        return {name: value.numpy().copy() for name, value in self.moving.items()}

    def gradient(self, features, labels):
        before = self.statistics()
        x = torch.from_numpy(features).to(self.dtype)
        if self.recipe["features"] == "pixels":
            x = ((x - torch.tensor(IMAGENET_MEAN, dtype=self.dtype)) / torch.tensor(IMAGENET_DEVIATION, dtype=self.dtype)).permute(0, 3, 1, 2)
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(x), torch.from_numpy(labels))
        loss.backward()
        after = self.statistics()
        self.set_statistics(before)
        return loss.item(), {name: to_graft(value.grad).numpy().copy() for name, value in self.trained.items()}, after

    def set_statistics(self, statistics):
        for name, value in statistics.items():
            self.moving[name].copy_(torch.from_numpy(value))

    def update(self, gradient, statistics):
        for name, value in gradient.items():
            self.trained[name].grad = from_graft(torch.from_numpy(value))
        self.optimizer.step()
        self.set_statistics(statistics)


if __name__ == "__main__":
    recipes.write(__file__, f"torch {torch.__version__}, numpy {np.__version__}", RECIPES, Training)
