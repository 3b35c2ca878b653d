"""Two layers with a hidden bias that compute the square of every feature, and a study that draws what they compute."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from superjax.studies import Results, at_most


class Bent(eqx.Module):
    """y' = W2 ReLU(W1 x + c) + b: piecewise linear, with a kink at every neuron's threshold."""

    W1: jax.Array
    c: jax.Array
    W2: jax.Array
    b: jax.Array
    dims = {"W1": ("hidden", "feature"), "c": ("hidden",), "W2": ("output", "hidden"), "b": ("output",)}

    def __init__(self, n_features, n_hidden, init_std, *, key):
        keys = jax.random.split(key, 3)
        self.W1 = init_std * jax.random.normal(keys[0], (n_hidden, n_features))
        self.c = init_std * jax.random.normal(keys[1], (n_hidden,))
        self.W2 = init_std * jax.random.normal(keys[2], (n_features, n_hidden))
        self.b = jnp.zeros(n_features)

    def __call__(self, x):
        return self.W2 @ jax.nn.relu(self.W1 @ x + self.c) + self.b


def square(x):
    return x**2


def figures(results: Results):
    (data,) = results.datasets.values()
    figure = Figure(figsize=(3 * data.sizes["density"] + 1, 3.6), layout="constrained")
    x = np.linspace(-1, 1, 201)
    for cell, ax in enumerate(figure.subplots(1, data.sizes["density"], sharey=True)):
        best = data.isel(density=cell, restart=int(data["best"][cell]))
        W1, c, W2, b = (best[name].values for name in ("W1", "c", "W2", "b"))
        for i in range(data.sizes["feature"]):  # feature i alone is active
            y = W2[i] @ np.maximum(W1[:, [i]] * x + c[:, None], 0) + b[i]
            ax.plot(x, y, label="computed, a line a feature" if i == 0 else None, color="#0072b2")
        ax.plot(x, x**2, "--", color="black", label="x²")
        ax.set(xlabel="x", title=f"density {float(best['density']):.2g}")
    figure.axes[0].set_ylabel("output y of the feature")
    figure.axes[0].legend()
    figure.suptitle(results.sweep.title)
    return {"squares": figure}


def claims(results: Results):
    (data,) = results.datasets.values()
    s = data["density"]
    variance = data.sizes["feature"] * (s / 5 - s**2 / 9)  # of x², x uniform on [-1, 1] where it is active
    left = float((data["loss"].min("restart") / variance).max())
    return [at_most("error, as a fraction of the variance of x² (largest of all densities)", "closed form", 0.02, left)]
