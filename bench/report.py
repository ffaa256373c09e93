from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from bench.figure import Figure
from bench.long_workloads import Growth
from bench.results import Outcome, Results
from bench.workloads import Workload

WIDTH = 132
"""Columns of the report, also in a narrower terminal, so that no figure is cut off."""
_PER_NOTICE = ("deliveries",)


def print_report(console: Console, results: Results, *, targets: bool) -> None:
    """A table for each workload. A ratio says how many times better the first server is.

    With `targets` it also says how the other servers compare with their targets.
    """
    for workload in results.workloads:
        outcomes = results.outcomes.get(workload.name)
        if outcomes is None:
            continue
        table = Table(title=workload.title, title_justify="left", title_style="bold", caption_justify="left")
        table.add_column("server", no_wrap=True)
        for figure in workload.figures:
            table.add_column(figure.title, justify="right")
            table.add_column("ratio", justify="right", style="dim")
        for server, outcome in outcomes.items():
            table.add_row(server, *_cells(results, workload, server, outcome))
        if (limit := _limit_cells(results, workload)) is not None:
            table.add_section()
            table.add_row("one send() per notice", *limit, style="italic")
        table.caption = "\n".join([*(_targets(results, workload) if targets else ()), *_remarks(outcomes)]) or None
        console.print(table)
        console.print()
    if results.stopped:
        console.print("[bold]The run was stopped before it was complete.[/]")
    console.print(
        f"Medians of {results.repeats}. A ratio is how many times better the first server is, in the same run.\n"
        f"The load generator counts {results.counting.counted_per_cpu_second / 1e6:.0f} million notices a second."
    )
    for failure in results.failures:
        console.print(f"[bold red]Promise broken:[/] {failure}", highlight=False)


def _cells(results: Results, workload: Workload, server: str, outcome: Outcome) -> list[str]:
    cells = []
    for figure in workload.figures:
        median = outcome.median(figure)
        ratio = results.ratio(workload, figure, server)
        cells += ["-" if median is None else number(median), "" if ratio is None else f"{ratio:.2f}"]
    return cells


def _limit_cells(results: Results, workload: Workload) -> list[str] | None:
    """The machine's own limit for each figure that has one, and how many times better the first server is."""
    cells = []
    for figure in workload.figures:
        limit = _limit(results, workload, figure)
        ours = results.outcomes[workload.name][results.first(workload)].median(figure)
        cells += ["" if limit is None else number(limit)]
        cells += [f"{figure.ratio(ours, limit):.2f}" if limit is not None and ours is not None else ""]
    return cells if any(cells) else None


def _limit(results: Results, workload: Workload, figure: Figure) -> float | None:
    if isinstance(workload, Growth):
        limit = results.limit(int(figure.key))
        return None if limit is None else 1e6 / limit
    return results.limit(workload.sockets) if figure.key in _PER_NOTICE else None


def _remarks(outcomes: dict[str, Outcome]) -> list[str]:
    lines = [f"{server}: {outcome.not_reached}" for server, outcome in outcomes.items() if outcome.not_reached]
    lines += [f"{server}: promise broken" for server, outcome in outcomes.items() if outcome.failure]
    lines += [f"{server}: {o.refused:,} joins were tried again" for server, o in outcomes.items() if o.refused]
    return lines


def _targets(results: Results, workload: Workload) -> Iterator[str]:
    first, *others = results.outcomes[workload.name]
    for figure in workload.figures:
        ours = results.outcomes[workload.name][first].median(figure)
        for server in others:
            theirs, ratio = (
                results.outcomes[workload.name][server].median(figure),
                results.ratio(workload, figure, server),
            )
            if ours is None or theirs is None or ratio is None:
                continue
            if figure.least is not None:
                share = 1 / ratio
                yield f"{server}: {figure.title}: {share:.2f} of those of {first} (target: {figure.least:g} or more)"
            if figure.most_more is not None:
                more = theirs - ours
                yield f"{server}: {figure.title}: {more:+.2f} to {first} (target: {figure.most_more:+g} or less)"


def number(value: float) -> str:
    """The value with three significant digits."""
    if value >= 1000:
        digits = max(0, len(f"{value:.0f}") - 3)
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"
