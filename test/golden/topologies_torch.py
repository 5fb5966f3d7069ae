"""What every layer of torchvision's own ResNets gives for the weights and the picture of made_up_weights.py.

    pip install torch==2.15.0 torchvision && python test/golden/topologies_torch.py

Writes topologies_torch.json, which topologies.all.test.ts compares. `state` holds the names and shapes of the tensors as torchvision saves them.
"""

import operator

import made_up_weights
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

PARTS = {"running_mean": "moving_mean", "running_var": "moving_variance"}


def fill(model):
    with torch.no_grad():
        for module_name, module in model.named_modules():
            for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                if name == "num_batches_tracked":
                    continue
                norm = isinstance(module, torch.nn.BatchNorm2d)
                part = PARTS.get(name) or ({"weight": "gamma", "bias": "beta"} if norm else {"weight": "kernel", "bias": "bias"})[name]
                # [out, in, h, w] and [out, in] to graft's order and back.
                shape = value.permute(2, 3, 1, 0).shape if value.ndim == 4 else value.T.shape if value.ndim == 2 else value.shape
                made = torch.from_numpy(made_up_weights.tensor(f"{module_name}/{part}", tuple(shape)))
                value.copy_(made.permute(3, 2, 0, 1) if value.ndim == 4 else made.T if value.ndim == 2 else made)


def run(topology, build, size, top):
    model = build(weights=None, num_classes=top).eval()
    fill(model)
    names = [name for name in get_graph_node_names(model)[1] if name not in ("x", "flatten")]
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    extractor = create_feature_extractor(model, names)
    # `out += identity` would overwrite the batch norm's output.
    for node in extractor.graph.nodes:
        if node.target is operator.iadd:
            node.target = operator.add
    extractor.recompile()
    with torch.no_grad():
        outputs = extractor(torch.from_numpy(made_up_weights.picture(size)).permute(0, 3, 1, 2))
    layers = {}
    for name, output in outputs.items():
        activation = output.flatten(1) if name == "avgpool" else output
        layers["global_average_pool" if name == "avgpool" else name] = made_up_weights.figures(made_up_weights.channels_last(activation.numpy()))
    state = {name: list(value.shape) for name, value in model.state_dict().items()}
    return {"topology": topology, "width": 1, "size": size, "top": top, "state": state, "layers": layers}


def main():
    models = torchvision.models
    networks = [
        run("resnet18_v1", models.resnet18, 64, 1000),
        run("resnet34_v1", models.resnet34, 75, 1000),
        run("resnet50_v1", models.resnet50, 75, 1000),
    ]
    made_up_weights.write(__file__, f"torch {torch.__version__}, torchvision {torchvision.__version__}", networks)


if __name__ == "__main__":
    main()
