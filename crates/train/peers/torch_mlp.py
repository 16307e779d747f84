"""Seconds an epoch of the notebook's model on MNIST by PyTorch, eager, with the fused Adam.

    python3 -m venv venv && venv/bin/pip install torch numpy
    GAINSTAGE_DATA=folder venv/bin/python crates/train/peers/torch_mlp.py 3 2          # epochs, threads

784-128-10, ReLU, softmax cross-entropy, He weights, batches of 32 of 55,000 images, reshuffled every epoch.
"""

import gzip
import os
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn

FOLDER = pathlib.Path(os.environ["GAINSTAGE_DATA"])


def load(part):
    def read(kind, offset):
        return np.frombuffer(gzip.open(FOLDER / f"{part}-{kind}-ubyte.gz").read(), np.uint8, offset=offset)

    images = torch.from_numpy(read("images-idx3", 16).reshape(-1, 784).astype(np.float32) / 255)
    return images, torch.from_numpy(read("labels-idx1", 8).astype(np.int64))


def main(epochs, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    images, labels = load("train")
    images, labels = images[5000:], labels[5000:]
    test_images, test_labels = load("t10k")
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    nn.init.kaiming_normal_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7, fused=True)
    for number in range(epochs):
        started = time.time()
        for chosen in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
            loss.backward()
            optimizer.step()
        print(f"epoch {number + 1}: {time.time() - started:.3f} s, last loss {loss.item():.4f}", flush=True)
    with torch.no_grad():
        accuracy = (model(test_images).argmax(1) == test_labels).float().mean().item()
    print(f"torch {torch.__version__}, test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
