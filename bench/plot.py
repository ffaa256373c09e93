from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from bench.long_workloads import Growth
from bench.results import Results


def plot_growth(results: Results, growth: Growth, path: Path) -> None:
    """Draw the cost of a notice against the number of members. The ending of `path` says in which format."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for server, outcome in results.outcomes[growth.name].items():
        points = [(size, outcome.median(cost)) for size, cost in zip(growth.sizes, growth.figures, strict=True)]
        reached = [(size, cost) for size, cost in points if cost is not None]
        if reached:
            axes.plot(*zip(*reached, strict=True), marker="o", label=server)
    limits = [(size, 1e6 / limit) for size in growth.sizes if (limit := results.limit(size)) is not None]
    axes.plot(*zip(*limits, strict=True), linestyle="--", color="grey", label="one send() per notice")
    axes.set(xscale="log", yscale="log", xlabel="members of the tenant", ylabel="µs of CPU per notice delivered")
    axes.set_xticks(growth.sizes, [f"{size:,}" for size in growth.sizes])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)
    plt.close(figure)
