"""The fused form equals the plain one, refuses what it cannot write, and keeps NaN where it belongs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from superjax.engine import kernel
from superjax.engine.train import gradient, values_and_gradient
from superjax.problem.expectation import ActiveMinibatch, Exact, Minibatch
from superjax.problem.models import Linear, ReLUOutput
from superjax.problem.proof import closed
from tests.parts import paper_cell


class TwoLayer(eqx.Module):
    """A user's model: x' = V tanh(U |x|) + c."""

    U: jax.Array
    V: jax.Array
    c: jax.Array

    def __init__(self, n_features, n_hidden, init_std, *, key):
        keys = jax.random.split(key)
        self.U = init_std * jax.random.normal(keys[0], (n_hidden, n_features))
        self.V = init_std * jax.random.normal(keys[1], (n_features, n_hidden))
        self.c = jnp.full(n_features, 0.1)

    def __call__(self, x):
        return self.V @ jnp.tanh(self.U @ jnp.abs(x)) + self.c


def compiled(function):
    """As the engine compiles it."""
    return jax.jit(function, compiler_options=kernel.compiler_options(jax.default_backend()))


def cell_of(n_features):
    return paper_cell(jnp.linspace(0.9, 0.2, n_features), jnp.linspace(1.0, 0.3, n_features))


OBJECTIVES = {
    "exact": lambda kind, n: Exact(n, 3, closed(kind, n, 2).holds),
    "product nodes": lambda kind, n: Exact(n, 3, False),
    "minibatch": lambda kind, n: Minibatch(n, 600),
    "active minibatch": lambda kind, n: ActiveMinibatch(n, 600),
}


@pytest.mark.parametrize("form", ["fused", "mapped"])
@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(
    ("kind", "n_features", "n_hidden"), [(ReLUOutput, 1, 1), (ReLUOutput, 3, 2), (Linear, 2, 1), (TwoLayer, 2, 2)]
)
def test_forms_equal_plain(kind, n_features, n_hidden, name, form):
    """Values and gradients of several models, and gradients alone, to a few units of rounding of the largest entry."""
    objective = OBJECTIVES[name](kind, n_features)
    models = jax.vmap(lambda key: kind(n_features, n_hidden, 0.8, key=key))(jax.random.split(jax.random.key(0), 3))
    cell, draw = cell_of(n_features), objective.draw(jax.random.key(1))

    def evaluate(form):
        losses, grads = jax.vmap(lambda model: values_and_gradient(objective, form)(model, cell, draw, 0.7))(models)
        return losses, grads, jax.vmap(lambda model: gradient(objective, form)(model, cell, draw, 0.7))(models)

    found, plain = compiled(lambda: evaluate(form))(), jax.jit(lambda: evaluate("plain"))()
    assert jax.tree.structure(found) == jax.tree.structure(plain)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6 * float(jnp.abs(other).max()))
    for one, other in zip(*map(jax.tree.leaves, found[1:]), strict=True):  # with the losses and without
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6 * float(jnp.abs(other).max()))


def test_many_rows_are_summed_in_blocks():
    """Mapped, of more rows than a block has, and of numbers of rows that are no whole blocks."""
    model, cell = ReLUOutput(3, 2, 0.8, key=jax.random.key(0)), cell_of(3)
    for rows in (3 * kernel._BLOCK_ROWS, 2 * kernel._BLOCK_ROWS + 7):
        objective = Minibatch(3, rows)
        draw = objective.draw(jax.random.key(1))
        found, expected = (
            jax.jit(lambda form=form, o=objective, d=draw: values_and_gradient(o, form)(model, cell, d))()
            for form in ("mapped", "plain")
        )
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_plain_is_the_sum_and_its_gradient():
    """Against a loop over rows and autodiff of the weighted sum."""
    objective, cell = Minibatch(3, 5), cell_of(3)
    model, u = ReLUOutput(3, 2, 0.8, key=jax.random.key(0)), jax.random.uniform(jax.random.key(1), (3, 5))

    def losses(model):
        return sum(objective.row_values(model, cell.laws, u[:, k]) for k in range(5))

    sums, grads = kernel.value_and_vjp(objective.row_values, "plain")(model, cell.laws, u, cell.laws.weights())
    np.testing.assert_allclose(sums, losses(model), rtol=1e-5)
    expected = jax.grad(lambda model: cell.laws.weights() @ losses(model))(model)
    for one, other in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_plain_form_copies_no_weights_for_every_row():
    """A scan and a gather take the weights as they are: broadcast over the rows, they would need 160 MB."""

    def several(params, shared, row):
        hidden = jax.lax.scan(lambda h, _: (jnp.tanh(params @ h), None), row, None, length=3)[0]
        return hidden + params[jnp.argmax(row)]

    params, rows = jnp.ones((200, 200)) / 200, jax.random.uniform(jax.random.key(0), (200, 1000))
    function = jax.jit(lambda params, rows: kernel.row_sum(several, "plain")(params, {}, rows))
    assert function.lower(params, rows).compile().memory_analysis().temp_size_in_bytes < 2e7
    expected = jax.vmap(lambda row: several(params, {}, row), -1, -1)(rows).sum(-1)
    np.testing.assert_allclose(function(params, rows), expected, rtol=1e-4)


def conditional(shared, row):
    return jnp.where(row > 0.5, shared["w"], 0.0).sum() + (row > 0.2).astype(jnp.float32)


FUNCTIONS = {
    "less common functions": lambda s, x: (
        jnp.arctan2(s["w"], 1 + x)
        + jnp.cbrt(x)
        + jnp.arcsinh(s["w"]) * jnp.cosh(x)
        + jax.lax.erf_inv(x / 2)
        + jnp.round(x)
    ),
    "gram": lambda s, x: s["W"].T @ (s["W"] @ x),
    "outer": lambda s, x: jnp.outer(x, s["w"]),
    "contract the first axis": lambda s, x: jnp.tensordot(s["T"], s["W"], axes=((1,), (0,))) @ x,
    "contract two axes": lambda s, x: jnp.tensordot(s["T"], s["T"], axes=((0, 2), (0, 2))) * x[0],
    "einsum": lambda s, x: jnp.einsum("hi,hj,j->i", s["W"], s["W"], x),
    "sum over some axes": lambda s, x: s["T"].sum((0, 2)) * x[:2].sum(keepdims=True),
    "transpose": lambda s, x: (jnp.transpose(s["T"], (2, 0, 1)) * x[:, None, None]).reshape(3, -1),
    "reverse, slice, concatenate": lambda s, x: jnp.concatenate([x[::-1], x[1:], s["w"][:1]]),
    "stack, squeeze": lambda s, x: jnp.squeeze(jnp.stack([x, s["w"]])[None], 0),
    "tree with scalars": lambda s, x: {"a": x[0] ** 3, "b": (jnp.tanh(x), jnp.abs(s["w"] - x))},
    "select": conditional,
    "clip, maximum, power": lambda s, x: jnp.clip(x, 0.2, 0.7) + jnp.maximum(x, s["w"]) ** 2 + jnp.sqrt(x),
    "custom derivative": lambda s, x: jax.nn.relu(x - 0.5) + jax.nn.softplus(s["w"] * x) + jax.nn.gelu(x),
    "nested jit": lambda s, x: jax.jit(lambda y: y * s["w"])(x),
    "constants": lambda s, x: x * np.arange(3, dtype=np.float32) + np.float32(0.5),
    "the same for every row": lambda s, x: s["w"] * 2,
    "the same for every row, some entries": lambda s, x: (s["w"] * 2, x),
    "a product of two rows": lambda s, x: jnp.outer(x, x) @ s["w"],
    "cumulative": lambda s, x: jnp.cumsum(s["w"] * x)[::-1] + jnp.cumprod(s["W"], axis=0)[1],
    "products": lambda s, x: jnp.prod(s["W"], axis=0) * jnp.prod(x) * jnp.prod(s["T"]),
    "pad": lambda s, x: jax.lax.pad(s["w"] * x, 0.5, [(1, 2, 1)]),
    "pad and crop": lambda s, x: jax.lax.pad(s["W"] * x[None], 0.5, [(0, -1, 2), (-1, 3, 0)]),
    "slice at a given place": lambda s, x: jax.lax.dynamic_slice(s["W"], (1, 2), (1, 2))[0, 0] * x,
    "cumulative, reversed": lambda s, x: jax.lax.cumsum(s["w"] * x, reverse=True),
    "comparisons of weights and rows": lambda s, x: jnp.where((s["w"] > 0) & (x > 0.4), x, s["w"]),
    "gradient": lambda s, x: jax.grad(lambda w: jnp.sum(jnp.sin(w * x) ** 2))(s["w"]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations(name):
    """Every operation that has a scalar form, moved, broadcast and contracted in the ways NumPy allows; and with its
    rows last."""
    keys = jax.random.split(jax.random.key(2), 4)
    shapes = {"W": (2, 3), "w": (3,), "T": (3, 2, 3)}
    shared = {k: jax.random.normal(key, shape) for key, (k, shape) in zip(keys, shapes.items(), strict=False)}
    rows = jax.random.uniform(keys[3], (3, 37))

    def function(params, _, row):
        leaves = jax.tree.leaves(FUNCTIONS[name](params, row))
        return jnp.concatenate([jnp.ravel(x) for x in leaves])

    assert kernel.refusal(function, shared, None, rows) is None
    fused, mapped, plain = jax.jit(
        lambda *a: [kernel.row_sum(function, form)(*a) for form in ("fused", "mapped", "plain")]
    )(shared, None, rows)
    expected = sum(function(shared, None, rows[:, k]) for k in range(37))
    for found in (fused, mapped, plain):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (lambda w, x: jnp.sort(w * x), "sort"),
        (lambda w, x: jnp.max(w * x), "reduce_max"),
        (lambda w, x: jax.lax.dynamic_slice(w, (jnp.int32(x[0]),), (1,)) * x, "slice at a computed place"),
        (lambda w, x: jax.lax.top_k(w * x, 3)[0], "top_k"),
        (lambda w, x: jax.lax.fori_loop(0, 3, lambda i, y: y * w, x), "scan"),
        (lambda w, x: jnp.einsum("bi,bi->b", w[:, None], x[:, None]), "batched matrix product"),
    ],
)
def test_unsupported(function, operation):
    """An operation without a scalar form is named, and never run wrongly."""
    w, rows = jnp.arange(3.0), jnp.ones((3, 5))
    with pytest.raises(kernel.Unsupported, match=operation):
        kernel.scalar_operations(function, w, rows[:, 0])
    assert kernel.refusal(lambda w, _, x: function(w, x), w, None, rows)


def test_large_models_are_left_to_matrix_products():
    def supported(n_features):
        objective = Minibatch(n_features, 8)
        model = ReLUOutput(n_features, n_features // 2, 0.1, key=jax.random.key(0))
        return kernel.refusal(objective.row_values, model, cell_of(n_features).laws, jnp.ones((n_features, 8))) is None

    assert supported(6) and not supported(40)


def test_operations_are_counted():
    """Three products and two sums in a dot product of length 3; moving entries costs nothing."""
    assert kernel.scalar_operations(lambda w, x: w[::-1] @ x.reshape(3), jnp.ones(3), jnp.ones((3, 1))) == 5


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("sampled", [False, True])
def test_poisoned_model_leaves_its_neighbours_alone(sampled, poison):
    """With the engine's compiler options: the others are bitwise unchanged, and its own loss says so."""
    objective, cell = Minibatch(2, 512) if sampled else Exact(2), cell_of(2)
    draw = objective.draw(jax.random.key(1))
    models = jax.vmap(lambda key: ReLUOutput(2, 1, 0.5, key=key))(jax.random.split(jax.random.key(0), 64))

    @compiled
    def run(models):
        losses, grads = jax.vmap(values_and_gradient(objective, "fused"), (0, None, None))(models, cell, draw)
        loss = losses.sum(-1)
        return loss, grads, jnp.isfinite(loss)

    clean = run(models)
    poisoned = run(eqx.tree_at(lambda m: m.W, models, models.W.at[5, 0, 1].set(poison)))
    np.testing.assert_array_equal(np.asarray(poisoned[2]), np.arange(64) != 5)
    assert np.isfinite(clean[0]).all()
    for before, after in zip(jax.tree.leaves(clean[:2]), jax.tree.leaves(poisoned[:2]), strict=True):
        np.testing.assert_array_equal(np.delete(before, 5, 0), np.delete(after, 5, 0))
    assert not np.isfinite(poisoned[0][5]) and not np.isfinite(poisoned[1].W[5]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_a_sum_that_is_not_finite_is_detected(value):
    """Fast math must honour NaN and infinity, given or overflowed to."""
    total = kernel.row_sum(lambda s, _, x: s * x.sum(), "fused")
    is_finite = compiled(lambda rows: jnp.isfinite(total(jnp.ones(()), None, rows)))
    rows = jnp.ones((2, 100))
    assert is_finite(rows) and not is_finite(rows.at[1, 63:65].set(value))


def test_options_belong_to_the_cpu():
    assert kernel.compiler_options("gpu") == kernel.compiler_options("tpu") == {}
