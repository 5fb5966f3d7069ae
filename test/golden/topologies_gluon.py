"""What every layer of Gluon's own ResNets of version 2 gives for the weights and the picture of made_up_weights.py.

    pip install mxnet==1.9.1 numpy==1.23.5 && python test/golden/topologies_gluon.py

Writes topologies_gluon.json, which topologies.all.test.ts compares. `state` holds the names and shapes of the parameters as Gluon saves them.
"""

import re

import made_up_weights
import mxnet as mx
from mxnet.gluon.model_zoo import vision

PARTS = {"weight": "kernel", "running_mean": "moving_mean", "running_var": "moving_variance"}


def fill(net):
    for name, parameter in net._collect_params_with_prefix().items():
        layer, part = name.rsplit(".", 1)
        if name in ("features.0.gamma", "features.0.beta"):
            continue  # neither scale nor offset: Gluon starts them at 1 and 0
        shape = parameter.shape
        order = (2, 3, 1, 0) if len(shape) == 4 else (1, 0) if len(shape) == 2 else (0,)
        back = (3, 2, 0, 1) if len(shape) == 4 else order
        made = made_up_weights.tensor(f"{layer}/{PARTS.get(part, part)}", tuple(shape[axis] for axis in order))
        parameter.set_data(mx.nd.array(made.transpose(back)))


def layer_names(net, bottleneck):
    """Gluon's names of operators (`resnetv20_stage1_conv0_fwd`) to those of its attributes (`features.5.0.conv1`)."""
    operators = {}
    for name, parameter in net._collect_params_with_prefix().items():
        operators[f"{parameter.name.rsplit('_', 2 if 'running' in name else 1)[0]}_fwd"] = name.rsplit(".", 1)[0]
    activations = 3 if bottleneck else 2

    def name_of(operator):
        short = operator[len(net.prefix) :]
        if operator in operators:
            return operators[operator]
        stage = re.fullmatch(r"stage(\d)_(_plus|activation)(\d+)", short)
        if stage:
            number = int(stage[3])
            block = f"features.{int(stage[1]) + 4}."
            return f"{block}{number}.add" if stage[2] == "_plus" else f"{block}{number // activations}.relu{number % activations + 1}"
        return {"relu0_fwd": "features.3", "pool0_fwd": "features.4", "relu1_fwd": "features.10", "pool1_fwd": "global_average_pool"}.get(short)

    return name_of


def run(topology, build, size, top):
    net = build(classes=top)
    net.initialize(mx.init.Zero())
    net(mx.nd.zeros((1, 3, size, size)))
    for name, parameter in net._collect_params_with_prefix().items():
        if name == "features.0.gamma":
            parameter.set_data(mx.nd.ones(parameter.shape))
    fill(net)
    internals = net(mx.sym.var("data")).get_internals()
    name_of = layer_names(net, bottleneck="50" in topology)
    kept = {}
    for output in internals.list_outputs():
        name = name_of(output[: -len("_output")]) if output.endswith("_output") else None
        if name is not None:
            kept[name] = internals[output]
    block = mx.gluon.SymbolBlock(list(kept.values()), mx.sym.var("data"), params=net.collect_params())
    outputs = block(mx.nd.array(made_up_weights.picture(size).transpose(0, 3, 1, 2)))
    layers = {}
    for name, output in zip(kept, outputs):
        activation = output.reshape((1, -1)) if name == "global_average_pool" else output
        layers[name] = made_up_weights.figures(made_up_weights.channels_last(activation.asnumpy()))
    state = {name: list(parameter.shape) for name, parameter in net._collect_params_with_prefix().items()}
    return {"topology": topology, "width": 1, "size": size, "top": top, "state": state, "layers": layers}


def main():
    networks = [
        run("resnet18_v2", vision.resnet18_v2, 64, 1000),
        run("resnet34_v2", vision.resnet34_v2, 75, 1000),
        run("resnet50_v2", vision.resnet50_v2, 75, 1000),
    ]
    made_up_weights.write(__file__, f"mxnet {mx.__version__}", networks)


if __name__ == "__main__":
    main()
