"""One training step of a network in PyTorch: zero the gradients, forward, loss, backward, optimiser. No code of graft.

    pip install torch==2.15.0 && python bench/peers/train_torch.py NETWORK [--threads 2] [--seconds 20]

Eager and channels-last. Layers are those of the original networks, in plain modules; convolutions of stride 2 pad all round, as networks in PyTorch do (those of
Keras pad at the bottom and on the right; the work is the same). Prints a line of JSON.
"""

import torch
from torch import nn

import training_time

# Filters and stride of MobileNetV2's blocks 1 to 16.
BLOCKS = [(24, 2), (24, 1), (32, 2), *[(32, 1)] * 2, (64, 2), *[(64, 1)] * 3, *[(96, 1)] * 3, (160, 2), *[(160, 1)] * 2, (320, 1)]


def convolution(inputs, outputs, size, stride=1, groups=1):
    return nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, groups=groups, bias=False)


def mobile_norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion=6):
        super().__init__()
        hidden = expansion * inputs
        expand = [convolution(inputs, hidden, 1), mobile_norm(hidden), nn.ReLU6(inplace=True)] if expansion > 1 else []
        depthwise = [convolution(hidden, hidden, 3, stride, hidden), mobile_norm(hidden), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*expand, *depthwise, convolution(hidden, outputs, 1), mobile_norm(outputs))
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.is_residual else self.layers(x)


def classifier(features, classes=training_time.CLASSES):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes)]


def mobilenet_end():
    return [convolution(320, 1280, 1), mobile_norm(1280), nn.ReLU6(inplace=True), *classifier(1280)]


def mobilenet_v2():
    blocks, inputs = [InvertedResidual(32, 16, 1, expansion=1)], 16
    for outputs, stride in BLOCKS:
        blocks.append(InvertedResidual(inputs, outputs, stride))
        inputs = outputs
    return nn.Sequential(convolution(3, 32, 3, 2), mobile_norm(32), nn.ReLU6(inplace=True), *blocks, *mobilenet_end())


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        first = [convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*first, convolution(outputs, outputs, 3), nn.BatchNorm2d(outputs))
        fits = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if fits else nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.layers(x) + self.shortcut(x))


def resnet18():
    layers, inputs = [convolution(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)], 64
    for outputs in (64, 128, 256, 512):
        layers += [BasicBlock(inputs, outputs, 1 if outputs == 64 else 2), BasicBlock(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, *classifier(512))


def build(network):
    """The model and the shape of a row."""
    if network == "last-block":
        return nn.Sequential(InvertedResidual(160, 320, 1), *mobilenet_end()), (160, 7, 7)
    if network.startswith("mobilenet"):
        return mobilenet_v2(), (3, 224, 224)
    if network == "resnet18":
        return resnet18(), (3, 224, 224)
    if network == "mixed7-head":
        return nn.Sequential(nn.Linear(37_632, 1_024), nn.ReLU(inplace=True), nn.Linear(1_024, 1)), (37_632,)
    return nn.Linear(1_280, training_time.CLASSES), (1_280,)


def freeze(model, x):
    """Batch norm with moving statistics, which become those of `x`: activations and gradients are then of the size that they have in a trained network."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model(x)
    for norm in norms:
        norm.eval()


def main():
    network, batch, threads, seconds = training_time.arguments(__doc__)
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model, row = build(network)
    x = torch.rand(batch, *row)
    if len(row) == 3:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    if network in ("last-block", "mobilenet-frozen"):
        freeze(model, x)
    if network == "mixed7-head":
        labels = torch.randint(0, 2, (batch, 1)).float()
        loss = nn.BCEWithLogitsLoss()
        optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4, alpha=0.9, eps=1e-7)
    else:
        labels = torch.randint(0, training_time.CLASSES, (batch,))
        loss = nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step():
        optimizer.zero_grad()
        loss(model(x), labels).backward()
        optimizer.step()

    steps = training_time.steps_for(seconds, step)
    training_time.report(f"PyTorch {torch.__version__}", network, batch, threads, training_time.timed(step, steps))


if __name__ == "__main__":
    main()
