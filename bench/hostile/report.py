from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.hostile.floods import Flooded
from bench.hostile.scenario import Outcome, Scenario
from bench.hostile.soak import Soak
from bench.hostile.stalled import Stalled
from bench.report import number


class _Columns(NamedTuple):
    """The columns of a table: `titles` by figure."""

    title: str
    titles: dict[str, str]


_LATENCIES = {
    "p50": "p50, ms",
    "p50_with": "with",
    "ratio_p50": "ratio",
    "p99": "p99, ms",
    "p99_with": "with",
    "ratio": "ratio",
}
_TABLES: dict[type[Scenario], _Columns] = {
    Stalled: _Columns(
        "stalled readers: time from a join message to another member's receipt of the notice, without and with them",
        _LATENCIES | {"first_gone": "first gone, s", "last_gone": "last, s", "growth": "MB more"} | {"core": "core, %"},
    ),
    Flooded: _Columns(
        "floods: time from a connection's first packet to the welcome, without and with one",
        _LATENCIES
        | {
            "worst": "worst",
            "refused": "refused",
            "core": "core, %",
            "growth": "MB more",
            "growth_after": "after",
            "left_open": "left open",
        },
    ),
    Soak: _Columns(
        "soak",
        {
            "per_second": "cycles/s",
            "cpu": "µs of CPU",
            "first": "MB after a leg",
            "last": "at the end",
            "grown": "MB per 100,000",
            "slope": "by slope",
            "steepest": "worst 100,000",
            "open_files": "files",
            "threads": "threads",
            "tasks": "tasks",
        },
    ),
}


def print_report(console: Console, played: Sequence[tuple[Scenario, Outcome]]) -> None:
    """Print a table for each kind of scenario. A figure that misses its target is red."""
    for kind, columns in _TABLES.items():
        of_kind = [(scenario, outcome) for scenario, outcome in played if type(scenario) is kind]
        if not of_kind:
            continue
        table = Table(title=columns.title, title_justify="left", title_style="bold", caption_justify="left")
        table.add_column("", no_wrap=True)
        for title in columns.titles.values():
            table.add_column(title, justify="right")
        for scenario, outcome in of_kind:
            table.add_row(scenario.name, *(_cell(scenario, outcome, key) for key in columns.titles))
        table.caption = "\n".join(_line(scenario, outcome) for scenario, outcome in of_kind)
        console.print(table)
        console.print()
    for scenario, outcome in played:
        for key in scenario.missed(outcome):
            console.print(f"[red]Target missed:[/] {scenario.name}, {key}: {_values(scenario, outcome, key)}")
        if outcome.failure:
            console.print(f"[bold red]Promise broken:[/] {scenario.name}: {outcome.failure}", highlight=False)


def _values(scenario: Scenario, outcome: Outcome, key: str) -> str:
    return f"{number(outcome.figures[key])} of {number(scenario.targets[key])} at the most"


def _cell(scenario: Scenario, outcome: Outcome, key: str) -> str:
    if key not in outcome.figures:
        return "-"
    text = number(outcome.figures[key])
    return f"[red]{text}[/]" if key in scenario.missed(outcome) else text


def _line(scenario: Scenario, outcome: Outcome) -> str:
    answers = ", ".join(f"{how}: {count:,}" for how, count in sorted(outcome.answers.items()))
    return f"{scenario.name}: {scenario.title}{'; ended: ' + answers if answers else ''}"
