"""One training step of a network in Keras on TensorFlow: a step of `fit` as it is by default, measured from the end of one to the end of the next. No code of graft.

    pip install tensorflow==2.21.0 keras==3.15.1 && python bench/peers/train_keras.py NETWORK [--threads 2] [--seconds 20]

There is no resnet18: Keras comes without one. Prints a line of JSON.
"""

import os
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import training_time
from keras import layers


class FrozenBatchNormalization(layers.BatchNormalization):
    """Normalises with the moving statistics in training too, once it is frozen; scale and offset are trained."""

    frozen = False

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=training and not self.frozen, mask=mask)


def with_frozen_norms(model):
    def clone(layer):
        kind = FrozenBatchNormalization if isinstance(layer, layers.BatchNormalization) else layer.__class__
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


def freeze(model, x):
    """Moving statistics become those of `x`, so that activations and gradients are of the size that they have in a trained network."""
    norms = [layer for layer in model.layers if isinstance(layer, FrozenBatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(x, training=True)
    for norm in norms:
        norm.frozen = True


def last_block():
    def norm(x):
        return FrozenBatchNormalization(epsilon=1e-3, momentum=0.999)(x)

    inputs = keras.Input((7, 7, 160))
    x = layers.ReLU(6)(norm(layers.Conv2D(960, 1, use_bias=False)(inputs)))
    x = layers.ReLU(6)(norm(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)))
    x = norm(layers.Conv2D(320, 1, use_bias=False)(x))
    x = layers.ReLU(6)(norm(layers.Conv2D(1_280, 1, use_bias=False)(x)))
    outputs = layers.Dense(training_time.CLASSES)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)


def build(network):
    """The model and the shape of a row."""
    if network == "last-block":
        return last_block(), (7, 7, 160)
    if network.startswith("mobilenet"):
        base = keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3))
        whole = keras.Model(base.input, layers.Dense(training_time.CLASSES)(base.output))
        return (with_frozen_norms(whole) if network == "mobilenet-frozen" else whole), (224, 224, 3)
    if network == "mixed7-head":
        return keras.Sequential([keras.Input((37_632,)), layers.Dense(1_024, activation="relu"), layers.Dense(1, activation="sigmoid")]), (37_632,)
    return keras.Sequential([keras.Input((1_280,)), layers.Dense(training_time.CLASSES)]), (1_280,)


class Ends(keras.callbacks.Callback):
    """When each step has ended."""

    def __init__(self):
        super().__init__()
        self.times = []

    def on_train_batch_end(self, batch, logs=None):
        self.times.append(time.perf_counter())


def main():
    network, batch, threads, seconds = training_time.arguments(__doc__)
    if network == "resnet18":
        raise SystemExit("train_keras.py: Keras comes without a ResNet-18")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(1)
    model, row = build(network)
    random = np.random.default_rng(1)
    x = random.random((batch, *row), dtype=np.float32)
    freeze(model, x)
    if network == "mixed7-head":
        labels = random.integers(0, 2, (batch, 1)).astype(np.float32)
        model.compile(optimizer=keras.optimizers.RMSprop(1e-4), loss="binary_crossentropy")
    else:
        labels = random.integers(0, training_time.CLASSES, batch)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9), loss=loss)
    data = tf.data.Dataset.from_tensors((x, labels))

    def fit(steps):
        ends = Ends()
        model.fit(data.repeat(steps), epochs=1, verbose=0, callbacks=[ends])
        return [(end - start) * 1000 for start, end in zip(ends.times, ends.times[1:])]

    probe = fit(training_time.WARM_UP + 2)[-1]
    steps = min(5_000, max(5, int(seconds * 1000 / probe)))
    # The first step of a call of fit waits for its data.
    times = fit(steps + training_time.WARM_UP)[training_time.WARM_UP - 1 :]
    training_time.report(f"Keras {keras.__version__} on TensorFlow {tf.__version__}", network, batch, threads, times)


if __name__ == "__main__":
    main()
