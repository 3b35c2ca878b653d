"""How well dictionaries find the features of a trained model, over density and penalty."""

from matplotlib.figure import Figure

from superjax import plots
from superjax.studies import Results, at_least

SHOWN = {"autoencoder_recovered": "features recovered", "autoencoder_fvu": "variance unexplained"}


def figures(results: Results):
    found = {}
    for name, data in results.datasets.items():
        figure = Figure(figsize=(9, 4), layout="constrained")
        x, y = (plots.cell_edges(data[axis].values, True) for axis in ("penalty", "density"))
        for ax, (variable, label) in zip(figure.subplots(1, 2, sharey=True), SHOWN.items(), strict=True):
            values = data[variable].mean("restart").transpose("density", "penalty")
            mesh = ax.pcolormesh(x, y, values, vmin=0, vmax=1, cmap="viridis")
            ax.set(xscale="log", yscale="log", xlabel="penalty", ylabel="density", title=label)
            figure.colorbar(mesh, ax=ax)
        found[name] = figure
    return found


def claims(results: Results):
    return [
        at_least(f"{name}: features recovered at the best penalty, at the sparsest density (fraction)",
                 "dictionary learning", 0.8, float(data["autoencoder_recovered"].mean("restart").sel(
                     density=data["density"].min()).max()))
        for name, data in results.datasets.items()
    ]  # fmt: skip
