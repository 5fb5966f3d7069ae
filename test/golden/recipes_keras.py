"""Losses, gradients and updates of the first three steps of the recipes from TensorFlow and Keras, by Keras itself. recipes.py says how, recipes.all.test.ts compares.

    pip install keras==3.15.0 torch==2.15.0 numpy && KERAS_BACKEND=torch python test/golden/recipes_keras.py

MobileNetV2 as a whole takes pictures of 96 pixels, not of 224.
"""

import functools
import os

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np
import recipes
import torch
from keras.src.backend.common import dtypes

# Keras's own layers and losses in float64: its promotion of types ends at float32 except with TensorFlow.
dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"

SGD = {"kind": "sgd", "momentum": 0, "nesterov": False}
RMSPROP = {"kind": "rmsprop", "decay": 0.9, "momentum": 0, "epsilon": 1e-7}
FLOWERS = functools.partial(recipes.recipe, optimizer=SGD, learningRate=0.1, outputs=102, classes=102, batch=32)
PIXELS = {"cut": "input", "inputShape": [96, 96, 3], "features": "pixels"}
RECIPES = [
    recipes.recipe("retrain-inception-v3", inputShape=[2048], features="nonNegative", outputs=5, classes=5, batch=100, optimizer=SGD, learningRate=0.01, outputDeviation=0.001),
    FLOWERS("mobilenet-v2-frozen", inputShape=[1280], features="nonNegative"),
    FLOWERS("mobilenet-v2-last-block", topology={"name": "mobilenet_v2", "width": 1, "size": 224}, cut="block_15_add", inputShape=[7, 7, 160], features="signed"),
    FLOWERS("mobilenet-v2-full", topology={"name": "mobilenet_v2", "width": 1, "size": 96}, **PIXELS),
    FLOWERS("mobilenet-v2-scratch", topology={"name": "mobilenet_v2", "width": 0.35, "size": 96}, **PIXELS),
    # One grain only: more than 8 million weights.
    recipes.recipe(
        "inception-v3-mixed7", inputShape=[7, 7, 768], features="nonNegative", hidden=[1024], outputs=1, classes=2, batch=20, grains=[1], loss="sigmoid", optimizer=RMSPROP, learningRate=1e-4
    ),
]


def build(recipe):
    if recipe["topology"] is None:
        start = keras.Input(recipe["inputShape"])
        x = keras.layers.Flatten()(start)
    else:
        size, width = recipe["topology"]["size"], recipe["topology"]["width"]
        backbone = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(size, size, 3), alpha=width)
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = recipes.MOMENTUM
        start = backbone.input if recipe["cut"] == "input" else backbone.get_layer(recipe["cut"]).output
        x = keras.layers.GlobalAveragePooling2D()(backbone.output)
    for number, units in enumerate(recipe["hidden"], 1):
        x = keras.layers.Dense(units, activation="relu", name=f"head_dense_{number}")(x)
    return keras.Model(start, keras.layers.Dense(recipe["outputs"], name="head_output")(x))


def name_of(layer, variable):
    part = variable.name
    if isinstance(layer, keras.layers.DepthwiseConv2D) and part == "kernel":
        part = "depthwise_kernel"
    return f"{layer.name.replace('head_', 'head/')}/{part}"


class Training:
    def __init__(self, recipe, dtype):
        keras.utils.clear_session()
        keras.config.set_floatx(dtype)
        self.recipe, self.dtype = recipe, dtype
        self.model = build(recipe)
        variables = {name_of(layer, variable): variable for layer in self.model.layers for variable in layer.weights}
        for name, variable in variables.items():
            variable.assign(recipes.weight(recipe, name, tuple(variable.shape)).astype(dtype))
        self.trained = {name: variable for name, variable in variables.items() if variable.trainable}
        self.moving = {name: variable for name, variable in variables.items() if not variable.trainable}
        rate, optimizer = recipe["learningRate"], recipe["optimizer"]
        if optimizer["kind"] == "rmsprop":
            self.optimizer = keras.optimizers.RMSprop(rate, rho=optimizer["decay"], epsilon=optimizer["epsilon"])
        else:
            self.optimizer = keras.optimizers.SGD(rate)
        self.optimizer.build(list(self.trained.values()))
        losses = {"sigmoid": keras.losses.BinaryCrossentropy, "softmax": keras.losses.SparseCategoricalCrossentropy}
        self.loss = losses[recipe["loss"]](from_logits=True)

    def parameters(self):
        return {name: variable.numpy().copy() for name, variable in self.trained.items()}

    def statistics(self):
        return {name: variable.numpy().copy() for name, variable in self.moving.items()}

    def gradient(self, features, labels):
        before = self.statistics()
        x = features.astype(self.dtype)
        if self.recipe["features"] == "pixels":
            x = x / 127.5 - 1
        targets = labels.reshape(-1, 1).astype(self.dtype) if self.recipe["loss"] == "sigmoid" else labels
        self.model.zero_grad()
        loss = self.loss(targets, self.model(x, training=True))
        assert str(loss.dtype) == f"torch.{self.dtype}"
        loss.backward()
        after = self.statistics()
        self.set_statistics(before)
        return loss.item(), {name: variable.value.grad.numpy().copy() for name, variable in self.trained.items()}, after

    def set_statistics(self, statistics):
        for name, value in statistics.items():
            self.moving[name].assign(value)

    def update(self, gradient, statistics):
        with torch.no_grad():
            self.optimizer.apply([torch.from_numpy(gradient[name]) for name in self.trained])
        self.set_statistics(statistics)


if __name__ == "__main__":
    made_with = f"keras {keras.__version__} on torch {torch.__version__}, numpy {np.__version__}"
    recipes.write(__file__, made_with, RECIPES, Training)
