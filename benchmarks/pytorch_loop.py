"""A PyTorch loop that trains many ReLU output models at once: what superjax is compared with.

All models are one tensor W (models, m, n) and a step is a handful of batched operations, as in the public notebook of
Elhage et al. (2022). `train` is meant to be as fast as plain PyTorch, without compilation, gets on CPU, and
`train_compiled` has the same step compiled. What was tried and kept in `train`, with the nanoseconds of a model-sample
at n=2 m=1, 1024 models, batch 1024, one batch for all, on two cores:

* features before samples, x (models, n, batch): 4.2, and 16 with x (models, batch, n), whose matrices are 2 wide;
* one `baddbmm` with WᵀW for small n: 3.5; with Wᵀ and then W 4.2, `@` and a separate sum 4.9, `einsum` 7.3. The two
  are equal at n=5, and Wᵀ(Wx) is twice as fast at n=400;
* `mse_loss` without reduction, importances applied to its sums over the batch: 3.5, and 6.7 with the square of a
  difference, which stores more; weighting every sample is slower still;
* x = ReLU(1 - u/s), the same law as "u/s if u < s, else 0" from the same one uniform number but in two passes, into
  tensors that are made once: for a fresh batch for each model 6.2, and 8.6 with `where`, 12.8 with a mask drawn apart;
* AdamW `fused`: 4.2, `foreach` 4.6, the loop over the two parameters 4.3.

The random numbers are then more than half of a step with a fresh batch for each model: PyTorch draws them on one core.
`torch.compile` draws them in the compiled code.
"""

import functools
import time

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.functional import mse_loss


def train(
    densities: Float[np.ndarray, "models n"],
    importances: Float[np.ndarray, "models n"],
    W: Float[np.ndarray, "models m n"],
    steps: int,
    batch: int,
    share_batch: bool,
    threads: int,
    device: str = "cpu",
    seed: int = 0,
) -> tuple[Float[np.ndarray, "models m n"], Float[np.ndarray, "models n"], float]:
    """Train from the weights W and zero biases with the notebook's AdamW, on new minibatches at every step.

    Args:
        share_batch: draw one set of uniform numbers a step for all models, as superjax does, not one for each.
        threads: how many cores PyTorch may use.
        device: where it runs, "cpu" or "cuda".

    Returns:
        W, b, and the seconds that the steps took.
    """
    weights, biases, optimizer = _begin(W, threads, device, seed, fused=True)
    models, _, n = W.shape

    minus_inverse = -1 / torch.tensor(densities, dtype=torch.float32, device=device)[:, :, None]
    importance = torch.tensor(importances, dtype=torch.float32, device=device) / (n * batch)
    one = torch.ones((), device=device)
    uniforms = torch.empty((n, batch) if share_batch else (models, n, batch), device=device)
    x = torch.empty((models, n, batch), device=device)

    start = _now(device)
    for _ in range(steps):
        torch.addcmul(one, uniforms.uniform_(), minus_inverse, out=x).relu_()
        matrix, inputs = (weights.mT @ weights, x) if n <= 16 else (weights.mT, weights @ x)
        outputs = torch.baddbmm(biases[:, :, None], matrix, inputs).relu_()
        loss = (importance * mse_loss(outputs, x, reduction="none").sum(dim=2)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = _now(device) - start
    return weights.detach().cpu().numpy(), biases.detach().cpu().numpy(), seconds


def train_straightforwardly(
    densities: Float[np.ndarray, "models n"],
    importances: Float[np.ndarray, "models n"],
    W: Float[np.ndarray, "models m n"],
    steps: int,
    batch: int,
    threads: int,
    device: str = "cpu",
    seed: int = 0,
) -> tuple[Float[np.ndarray, "models m n"], Float[np.ndarray, "models n"], float]:
    """As `train` with a fresh batch for each model, written the way one first does: samples before features, einsum."""
    weights, biases, optimizer = _begin(W, threads, device, seed)
    models, _, n = W.shape
    density, importance = (
        torch.tensor(x, dtype=torch.float32, device=device)[:, None] for x in (densities, importances)
    )

    start = _now(device)
    for _ in range(steps):
        active = torch.rand(models, batch, n, device=device) < density
        x = torch.where(active, torch.rand(models, batch, n, device=device), torch.zeros((), device=device))
        hidden = torch.einsum("kmn,kbn->kbm", weights, x)
        output = torch.relu(torch.einsum("kmn,kbm->kbn", weights, hidden) + biases[:, None])
        loss = (importance * (x - output) ** 2).mean(dim=(1, 2)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = _now(device) - start
    return weights.detach().cpu().numpy(), biases.detach().cpu().numpy(), seconds


def train_compiled(
    densities: Float[np.ndarray, "models n"],
    importances: Float[np.ndarray, "models n"],
    W: Float[np.ndarray, "models m n"],
    steps: int,
    batch: int,
    functional: bool,
    threads: int,
    device: str = "cpu",
    seed: int = 0,
) -> tuple[Float[np.ndarray, "models m n"], Float[np.ndarray, "models n"], float]:
    """As `train` with one batch for all models, the draw, the loss and its gradient under `torch.compile`.

    Args:
        functional: the loss is that of one model under `torch.func.vmap`, not a batched one.
    """
    weights, biases, optimizer = _begin(W, threads, device, seed, fused=True)
    models, _, n = W.shape
    minus_inverse = -1 / torch.tensor(densities, dtype=torch.float32, device=device)
    importance = torch.tensor(importances, dtype=torch.float32, device=device) / (n * batch)
    loss_of = _compiled(_functional_loss if functional else _batched_loss, device)

    start = _now(device)
    for _ in range(steps):
        loss = loss_of(weights, biases, minus_inverse, importance, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = _now(device) - start
    return weights.detach().cpu().numpy(), biases.detach().cpu().numpy(), seconds


@functools.cache
def _compiled(function, device):
    """On a GPU with CUDA graphs, as a step is a few short kernels there."""
    return torch.compile(function, dynamic=False, mode="reduce-overhead" if device == "cuda" else "default")


def _batched_loss(weights, biases, minus_inverse, importance, batch):
    """The step of `train`: losses of all models, summed."""
    n = weights.shape[-1]
    uniforms = torch.rand(n, batch, device=weights.device)
    x = (1 + uniforms * minus_inverse[:, :, None]).relu()
    matrix, inputs = (weights.mT @ weights, x) if n <= 16 else (weights.mT, weights @ x)
    outputs = torch.baddbmm(biases[:, :, None], matrix, inputs).relu()
    return (importance * mse_loss(outputs, x, reduction="none").sum(dim=2)).sum()


def _functional_loss(weights, biases, minus_inverse, importance, batch):
    """The same, of one model and `torch.func.vmap`."""
    n = weights.shape[-1]
    uniforms = torch.rand(n, batch, device=weights.device)

    def one(W, b, minus_inverse, importance):
        x = (1 + uniforms * minus_inverse[:, None]).relu()
        output = (W.T @ (W @ x) + b[:, None]).relu()
        return (importance * (output - x).square().sum(dim=1)).sum()

    return torch.func.vmap(one)(weights, biases, minus_inverse, importance).sum()


def _now(device):
    """Seconds on a clock, read when the device has done all its work."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _begin(W, threads, device, seed, **options):
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    weights = torch.nn.Parameter(torch.tensor(W, dtype=torch.float32, device=device))
    biases = torch.nn.Parameter(torch.zeros(W.shape[0], W.shape[2], device=device))
    return weights, biases, torch.optim.AdamW([weights, biases], lr=1e-3, weight_decay=0.01, **options)
