"""How many features the best model of every cell represents, beside how many fit without superposition."""

from matplotlib.figure import Figure

from superjax.studies import Results, at_least


def _counts(results: Results):
    for name, data in results.datasets.items():
        best = data["phase"].isel(restart=data["best"])
        yield name, data, (best.isin((1, 2))).sum("feature")  # dedicated or superposed


def figures(results: Results):
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    for name, data, count in _counts(results):
        ax.plot(1 / data["density"], count, marker="o", label=name)
        ax.axhline(data.attrs["n_hidden"], color="0.5", linestyle=":", label="dimensions")
    ax.set(xscale="log", xlabel="1 / density", ylabel="features represented", title=results.sweep.title)
    ax.legend()
    return {"counts": figure}


def claims(results: Results):
    return [
        at_least(f"{name}: features represented in the sparsest cell", "Demonstrating Superposition",
                 int(data.attrs["n_hidden"]) + 1, int(count[-1]))
        for name, data, count in _counts(results)
    ]  # fmt: skip
