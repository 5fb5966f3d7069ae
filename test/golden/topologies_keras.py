"""What every layer of Keras's own Inception v3, MobileNetV2 and VGG-16 gives for the weights and the picture of made_up_weights.py.

    pip install keras==3.15.1 jax==0.10.2 && KERAS_BACKEND=jax python test/golden/topologies_keras.py

Writes topologies_keras.json, which topologies.all.test.ts compares.
"""

import re

import keras
import made_up_weights
import numpy as np


def numbered(name):
    """Keras 3 begins to count at nothing (`conv2d`, `conv2d_1`), graft as Keras 1 and 2 do at 1."""
    match = re.fullmatch(r"(conv2d|batch_normalization|activation|max_pooling2d|average_pooling2d|concatenate)(?:_(\d+))?", name)
    return f"{match[1]}_{int(match[2] or 0) + 1}" if match else name


def weight_name(layer, weight):
    part = weight.name.split("/")[-1]
    return "depthwise_kernel" if isinstance(layer, keras.layers.DepthwiseConv2D) and part == "kernel" else part


def run(topology, model, size, name_of_output=lambda layer, name: name, width=1, top=None):
    for layer in model.layers:
        layer.set_weights([made_up_weights.tensor(f"{numbered(layer.name)}/{weight_name(layer, weight)}", weight.shape) for weight in layer.weights])
    layers = [layer for layer in model.layers if not isinstance(layer, (keras.layers.InputLayer, keras.layers.ZeroPadding2D))]
    outputs = keras.Model(model.input, [layer.output for layer in layers]).predict(made_up_weights.picture(size), verbose=0)
    figures = {name_of_output(layer, numbered(layer.name)): made_up_weights.figures(output) for layer, output in zip(layers, outputs)}
    return {"topology": topology, "width": width, "size": size, "top": top, "layers": figures}


def main():
    def fresh(build, **options):
        keras.utils.clear_session()
        return build(weights=None, classifier_activation=None, **options)

    # Keras has the relu of a layer inside it.
    def after_relu(layer, name):
        return f"{name}_relu" if getattr(layer, "activation", None) is keras.activations.relu else name

    apps = keras.applications
    networks = [
        run("inception_v3", fresh(apps.InceptionV3, include_top=False, input_shape=(75, 75, 3)), 75),
        run("mobilenet_v2", fresh(apps.MobileNetV2, include_top=False, input_shape=(96, 96, 3), alpha=0.35), 96, width=0.35),
        # A side that is not even at every stage, where SAME pads all round.
        run("mobilenet_v2", fresh(apps.MobileNetV2, include_top=False, input_shape=(75, 75, 3), alpha=1.4), 75, width=1.4),
        run("vgg16", fresh(apps.VGG16, include_top=False, input_shape=(50, 50, 3)), 50, after_relu),
        run("vgg16", fresh(apps.VGG16, include_top=True, input_shape=(32, 32, 3), classes=10), 32, after_relu, top=10),
    ]
    made_with = f"keras {keras.__version__} on {keras.backend.backend()}, numpy {np.__version__}"
    made_up_weights.write(__file__, made_with, networks)


if __name__ == "__main__":
    main()
