"""Seconds of a random ReLU network, forward and backward, with the variances of every layer.

    python3 -m venv venv && venv/bin/pip install torch           # another for: jax
    venv/bin/python crates/simulate/peers/propagate.py torch 100 1000 1000    # depth, width, batch
    venv/bin/python crates/simulate/peers/propagate.py jax 100 1000 1000

He weights, Gaussian inputs and Gaussian error signals at the output, on all cores. PyTorch keeps its weights and has the
variance of every weight's gradient; JAX is jitted, without the time of compiling, draws a layer's weights again on
the way back as gainstage does, and leaves the gradients of weights out. The shortest of three runs.
"""

import sys
import time


def by_torch(depth, width, batch):
    import torch

    def run(seed):
        torch.manual_seed(seed)
        weights = [torch.nn.init.kaiming_normal_(torch.empty(width, width)).requires_grad_() for _ in range(depth)]
        h, signals = torch.randn(batch, width), []
        for weight in weights:
            z = h @ weight.T
            z.retain_grad()
            signals.append(z)
            h = torch.relu(z)
        forward = [z.detach().var().item() for z in signals]
        h.backward(torch.randn_like(h))
        backward = [z.grad.var().item() for z in signals]
        return forward, backward, [w.grad.var().item() for w in weights]

    return f"torch {torch.__version__}", run


def by_jax(depth, width, batch):
    import jax
    import jax.numpy as jnp
    from jax import lax

    def weight(key, layer):
        return jax.random.normal(jax.random.fold_in(key, layer), (width, width)) * jnp.sqrt(2.0 / width)

    @jax.jit
    def network(key):
        first, last, key = jax.random.split(key, 3)

        def ahead(h, layer):
            z = h @ weight(key, layer).T
            return jnp.maximum(z, 0), (z > 0, z.var())

        def back(delta, of_layer):
            layer, alive = of_layer
            delta = jnp.where(alive, delta, 0)
            return delta @ weight(key, layer), delta.var()

        layers = jnp.arange(depth)
        _, (alive, forward) = lax.scan(ahead, jax.random.normal(first, (batch, width)), layers)
        delta = jax.random.normal(last, (batch, width))
        _, backward = lax.scan(back, delta, (layers, alive), reverse=True)
        return forward, backward

    def run(seed):
        forward, backward = jax.block_until_ready(network(jax.random.PRNGKey(seed)))
        return forward, backward, [float("nan")]

    run(0)
    return f"jax {jax.__version__}", run


def main(framework, sizes):
    name, run = {"torch": by_torch, "jax": by_jax}[framework](*sizes)
    times = []
    for seed in range(3):
        started = time.time()
        forward, backward, gradients = run(seed)
        times.append(time.time() - started)
    print(
        f"{name}: {min(times):.3f} s; variance of z {forward[0]:.3g} to {forward[-1]:.3g}, of dz {backward[-1]:.3g} to "
        f"{backward[0]:.3g}, of the first weights' gradient {gradients[0]:.3g}"
    )


if __name__ == "__main__":
    main(sys.argv[1], [int(size) for size in sys.argv[2:5]])
