"""Three features in two neurons: what becomes of two that are active at once. `python docs/worked_example.py` draws it.

The numbers are checked where the analysis of neurons begins, `superjax/analysis/neurons.py`.
"""

from pathlib import Path

import numpy as np

from superjax.plots import canvas, vectors

COLOURS = ("#0072b2", "#d55e00", "#009e73")
W = np.array([[np.sqrt(3) / 2, -np.sqrt(3) / 2, 0], [0.5, 0.5, -1]])  # hidden x feature
X = np.array([0.9, 0.9, 0])


def draw():
    """The columns of W with what they make of X; beside them, X and what WᵀWX recovers of it."""
    from matplotlib.figure import Figure
    from matplotlib.legend_handler import HandlerTuple

    hidden = W @ X
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    plane, bars = figure.subplots(1, 2)
    vectors(plane, W, COLOURS)
    plane.plot([0, hidden[0]], [0, hidden[1]], color="black", linewidth=1.5, linestyle=":")
    plane.plot(*hidden, "s", color="black", markersize=7)
    plane.annotate("h = W x", hidden, (0, 9), textcoords="offset points", ha="center")
    for k, (x, y) in enumerate(W.T):
        plane.annotate(f"W$_{k + 1}$", (1.22 * x, 1.22 * y), ha="center", va="center")
    plane.set(xlabel="neuron 1", ylabel="neuron 2")
    places = np.arange(len(X))
    given = bars.bar(places - 0.2, X, 0.38, color="0.8")
    recovered = bars.bar(places + 0.2, W.T @ hidden, 0.38, color=COLOURS)
    bars.axhline(0, color="black", linewidth=0.8)
    bars.set_xticks(places, [f"feature {k + 1}" for k in places])
    bars.set(ylim=(-1.1, 1.1))
    bars.legend([given, tuple(recovered)], ["input x", "recovered, WᵀW x"], handler_map={tuple: HandlerTuple(None)},
                loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)  # fmt: skip
    return figure


if __name__ == "__main__":
    with canvas.plain():
        Path(__file__).with_suffix(".png").write_bytes(canvas.png(draw(), 130))
