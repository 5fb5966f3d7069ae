"""Writes pytorch-resnet.onnx and pytorch-resnet.json: a small ResNet as PyTorch exports it, and what PyTorch computes with it.

    pip install torch==2.15.0 onnx onnxscript && python formats/onnx/testdata/make-pytorch-model.py

The layers and their order are those of torchvision's ResNet-18: convolution, batch norm, pooling, one block with and one without a downsampling, the mean
over the picture, a fully connected layer.
"""

import json
import pathlib

import onnx
import torch
from torch import nn

here = pathlib.Path(__file__).parent
torch.manual_seed(7)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)) if stride > 1 else None

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + (x if self.downsample is None else self.downsample(x)))


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = Block(8, 8, 1)
        self.layer2 = Block(8, 12, 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(12, 5)

    def features(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        return torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1)

    def forward(self, x):
        return self.fc(self.features(x))


model = Small().eval()
with torch.no_grad():
    for name, value in model.state_dict().items():
        if "bn" in name or "downsample.1" in name:
            if value.dtype == torch.float32:
                value.copy_(torch.rand_like(value) + 0.5 if "var" in name or "weight" in name else torch.rand_like(value) - 0.5)

side = 32
h, w, c = torch.arange(side).view(1, 1, side, 1), torch.arange(side).view(1, 1, 1, side), torch.arange(3).view(1, 3, 1, 1)
pixels = ((h * 31 + w * 17 + c * 101) % 256).float()
mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
deviation = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
picture = (pixels - mean) / deviation

file = here / "pytorch-resnet.onnx"
torch.onnx.export(model, (picture,), file, external_data=False)
exported = onnx.load(file)
for entry in [exported.graph, *exported.graph.node, *exported.graph.input, *exported.graph.output, *exported.graph.value_info]:
    # Where in which program a node was made, with paths of the machine.
    del entry.metadata_props[:]
onnx.save(exported, file)
with torch.no_grad():
    expected = {"torch": torch.__version__.split("+")[0], "features": model.features(picture)[0].tolist(), "logits": model(picture)[0].tolist()}
(here / "pytorch-resnet.json").write_text(json.dumps(expected, indent=1) + "\n")
