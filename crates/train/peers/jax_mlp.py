"""Seconds an epoch of an MLP on MNIST by JAX, the whole epoch one jitted scan.

    python3 -m venv venv && venv/bin/pip install jax
    GAINSTAGE_DATA=folder venv/bin/python crates/train/peers/jax_mlp.py 784,128,10 32 10   # the notebook's model
    GAINSTAGE_DATA=folder venv/bin/python crates/train/peers/jax_mlp.py deep 64 3          # 30 layers of 128

Widths, batch, epochs. ReLU, softmax cross-entropy, Adam, He weights, pixels divided by 255, 55,000 images, reshuffled
every epoch. Compilation is left out: a first epoch is run and not counted. The last, smaller batch is left out as well,
which a scan of equal steps cannot have. It uses all cores; `taskset -c 0,1` limits it.
"""

import gzip
import os
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

FOLDER = pathlib.Path(os.environ["GAINSTAGE_DATA"])


def load(part):
    def read(kind, offset):
        return np.frombuffer(gzip.open(FOLDER / f"{part}-{kind}-ubyte.gz").read(), np.uint8, offset=offset)

    images = read("images-idx3", 16).reshape(-1, 784).astype(np.float32) / 255
    return jnp.array(images), jnp.array(read("labels-idx1", 8).astype(np.int32))


def outputs(layers, x):
    for w, b in layers[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = layers[-1]
    return x @ w + b


def main(widths, batch, epochs):
    images, labels = load("train")
    images, labels = images[5000:], labels[5000:]
    test_images, test_labels = load("t10k")

    def loss(layers, x, y):
        return -jnp.mean(jax.nn.log_softmax(outputs(layers, x))[jnp.arange(len(y)), y])

    def step(state, chosen):
        layers, m, v, t = state
        value, g = jax.value_and_grad(loss)(layers, images[chosen], labels[chosen])
        t = t + 1
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        layers = jax.tree.map(lambda p, a, b: p - rate * a / (jnp.sqrt(b) + 1e-7), layers, m, v)
        return (layers, m, v, t), value

    @jax.jit
    def epoch(state, key):
        n = len(images) // batch * batch
        order = jax.random.permutation(key, len(images))[:n].reshape(-1, batch)
        state, losses = lax.scan(step, state, order)
        return state, losses.mean()

    key = jax.random.PRNGKey(0)
    he = jax.nn.initializers.he_normal()
    keys = jax.random.split(key, len(widths))
    layers = [(he(k, (a, b)), jnp.zeros(b)) for k, a, b in zip(keys, widths, widths[1:])]
    zeros = jax.tree.map(jnp.zeros_like, layers)
    state = (layers, zeros, zeros, 0.0)
    jax.block_until_ready(epoch(state, key))
    for number in range(epochs):
        started = time.time()
        state, value = jax.block_until_ready(epoch(state, jax.random.fold_in(key, number)))
        print(f"epoch {number + 1}: {time.time() - started:.3f} s, loss {value:.4f}", flush=True)
    accuracy = (outputs(state[0], test_images).argmax(1) == test_labels).mean()
    print(f"jax {jax.__version__}, test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    shape = sys.argv[1]
    shape = [784] + [128] * 29 + [10] if shape == "deep" else [int(width) for width in shape.split(",")]
    main(shape, int(sys.argv[2]), int(sys.argv[3]))
