"""Writes keras3-model.h5 and keras3-model.json: a whole model of Keras 3 with a model inside it, and what Keras computes with it.

    pip install keras h5py scipy jax && KERAS_BACKEND=numpy python make-keras3-model.py
"""

import json
import pathlib

import keras
import numpy as np

here = pathlib.Path(__file__).parent
generator = np.random.default_rng(7)

inner_input = keras.Input((16, 16, 3))
x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="conv")(inner_input)
x = keras.layers.BatchNormalization(epsilon=1e-3, name="bn")(x)
x = keras.layers.ReLU(max_value=6, name="relu")(x)
y = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
y = keras.layers.Add(name="sum")([x, y])
y = keras.layers.Concatenate(name="both")([y, keras.layers.AveragePooling2D(3, strides=1, padding="same", name="smooth")(x)])
inner = keras.Model(inner_input, y, name="inner")

picture = keras.Input((16, 16, 3))
z = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(picture)
z = keras.layers.GlobalAveragePooling2D(name="pool")(inner(z))
pooled = z
z = keras.layers.Dropout(0.2, name="drop")(z)
z = keras.layers.Dense(3, activation="softmax", name="classes")(z)
model = keras.Model(picture, z, name="keras3")

values = [generator.normal(size=v.shape).astype("float32") * 0.4 for v in model.weights]
model.set_weights([np.abs(a) + 0.5 if "variance" in v.path else a for v, a in zip(model.weights, values)])
model.save(here / "keras3-model.h5")

pixels = np.fromfunction(lambda h, w, c: (h * 31 + w * 17 + c * 101) % 256, (16, 16, 3)).astype("float32")[None]
expected = {
    "keras": keras.__version__,
    "pooled": np.asarray(keras.Model(picture, pooled)(pixels))[0].tolist(),
    "probabilities": np.asarray(model(pixels))[0].tolist(),
}
(here / "keras3-model.json").write_text(json.dumps(expected, indent=1) + "\n")
