"""Seconds of the seed notebook's four models on MNIST by Keras, loading and evaluation included.

    python3 -m venv venv && venv/bin/pip install "tensorflow-cpu==2.16.1" "keras==3.3.3" "numpy<2"
    GAINSTAGE_DATA=folder venv/bin/python crates/train/peers/keras_notebook.py 10     # epochs

784-128-10, ReLU and softmax, cross-entropy, Adam, batches of 32, the first 5,000 images held out. Zero, normal, Glorot
uniform and He normal weights in the hidden layer, Keras's default in the last; test accuracy with pixels divided by 255.
"""

import gzip
import os
import pathlib
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
STARTED = time.time()

import keras  # noqa: E402
import numpy as np  # noqa: E402

FOLDER = pathlib.Path(os.environ["GAINSTAGE_DATA"])


def load(part):
    def read(kind, offset):
        return np.frombuffer(gzip.open(FOLDER / f"{part}-{kind}-ubyte.gz").read(), np.uint8, offset=offset)

    return read("images-idx3", 16).reshape(-1, 28, 28).astype("float32") / 255, read("labels-idx1", 8)


def main(epochs):
    images, labels = load("train")
    test = load("t10k")
    imported = time.time() - STARTED
    inits = keras.initializers
    for name, init in [
        ("zeros", inits.Zeros()),
        ("normal(std = 0.1)", inits.RandomNormal(stddev=0.1)),
        ("glorot_uniform", inits.GlorotUniform()),
        ("keras_he_normal", inits.HeNormal()),
    ]:
        started = time.time()
        model = keras.Sequential(
            [
                keras.layers.Input((28, 28)),
                keras.layers.Flatten(),
                keras.layers.Dense(128, activation="relu", kernel_initializer=init),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        held = (images[:5000], labels[:5000])
        model.fit(images[5000:], labels[5000:], epochs=epochs, batch_size=32, validation_data=held, verbose=0)
        accuracy = model.evaluate(*test, verbose=0)[1]
        print(f"{name:18} {time.time() - started:.1f} s, test accuracy {accuracy:.4f}", flush=True)
    total = time.time() - STARTED
    print(f"keras {keras.__version__}: {total:.1f} s, of which {imported:.1f} s for importing and reading")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
