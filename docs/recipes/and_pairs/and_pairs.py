"""Bits, and two layers that compute the AND of every pair of them, with a study that draws their table of truth."""

from itertools import combinations, product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from pydantic import Field

from superjax.problem import Distribution, Options, PerFeature, Target
from superjax.studies import Results, at_most


class Bits(Distribution):
    """1 where a feature is active, else 0."""

    density: jax.Array

    class Options(Options):
        density: PerFeature = Field(0.5, description="the probability that a bit is 1")

    def sample(self, uniforms):
        return jnp.where(uniforms < self.density, 1.0, 0.0)

    def activity(self):
        return jnp.mean(self.density)


class And(Target):
    """x_i AND x_j of all pairs i < j."""

    @classmethod
    def n_outputs(cls, n_features):
        return n_features * (n_features - 1) // 2

    def __call__(self, x):
        return jnp.stack([x[i] * x[j] for i, j in combinations(range(x.shape[0]), 2)])


class Gates(eqx.Module):
    """y' = W2 ReLU(W1 x + c) + b."""

    W1: jax.Array
    c: jax.Array
    W2: jax.Array
    b: jax.Array
    dims = {"W1": ("hidden", "feature"), "c": ("hidden",), "W2": ("output", "hidden"), "b": ("output",)}

    def __init__(self, n_features, n_hidden, init_std, *, key, n_outputs):
        first, second = jax.random.split(key)
        self.W1 = init_std * jax.random.normal(first, (n_hidden, n_features))
        self.c = jnp.zeros(n_hidden)
        self.W2 = init_std * jax.random.normal(second, (n_outputs, n_hidden))
        self.b = jnp.zeros(n_outputs)

    def __call__(self, x):
        return self.W2 @ jax.nn.relu(self.W1 @ x + self.c) + self.b


def table(results: Results):
    """All inputs, and what the best model computes of them, at the density of 1/2 or the one nearest to it."""
    (data,) = results.datasets.values()
    cell = int(np.argmin(np.abs(data["density"].values - 0.5)))
    best = data.isel(density=cell, restart=int(data["best"][cell]))
    W1, c, W2, b = (best[name].values for name in ("W1", "c", "W2", "b"))
    x = np.array(list(product([0, 1], repeat=data.sizes["feature"])))
    return x, np.maximum(x @ W1.T + c, 0) @ W2.T + b


def figures(results: Results):
    x, y = table(results)
    pairs = list(combinations(range(x.shape[1]), 2))
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[x.shape[1], len(pairs), len(pairs)], sharey=True)
    truth = np.stack([x[:, i] * x[:, j] for i, j in pairs], axis=1)
    labels = [f"{i}∧{j}" for i, j in pairs]
    shown = (("input", x, range(x.shape[1])), ("AND", truth, labels), ("computed", y, labels))
    for ax, (title, values, names) in zip(axes, shown, strict=True):
        mesh = ax.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        ax.set(title=title, xticks=range(values.shape[1]), xticklabels=list(names), yticks=[])
    axes[0].set(xlabel="bit", ylabel="all inputs, a row each")
    for ax in axes[1:]:
        ax.set_xlabel("pair of bits")
    figure.colorbar(mesh, ax=axes, label="value of a bit or an output")
    figure.suptitle(results.sweep.title)
    return {"and_pairs": figure}


def claims(results: Results):
    x, y = table(results)
    wrong = [x[:, i] * x[:, j] != (y[:, k] > 0.5) for k, (i, j) in enumerate(combinations(range(x.shape[1]), 2))]
    return [at_most("entries of the table of truth that are wrong (fraction)", "x_i AND x_j", 0, float(np.mean(wrong)))]
