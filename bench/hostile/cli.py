import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench.hostile.attacks import ATTACKS
from bench.hostile.floods import Flooded
from bench.hostile.report import print_report
from bench.hostile.scenario import Outcome, Scenario, play
from bench.hostile.soak import Soak
from bench.hostile.stalled import Stalled, answers_no_ping, reads_a_byte, reads_nothing
from bench.progress import Progress
from bench.report import WIDTH
from bench.results import RESULTS, machine
from bench.server import prepare_this_process

_MILLION = 1_000_000


_SELDOM = (60.0, 60.0)
"""The ping interval and timeout: so long that no peer is cut off for a ping. A peer that is gone had a full outbox."""


def _scenarios(cycles: int) -> list[Scenario]:
    return [
        Stalled("stalled", reads_nothing, pings=_SELDOM),
        Stalled("dribbled", reads_a_byte, every=1.0, members=1000, stalled=100, pings=_SELDOM),
        Stalled("mute", answers_no_ping, members=1000, stalled=100),
        *(Flooded(attack) for attack in ATTACKS.values()),
        Soak(cycles),
    ]


def _quick_scenarios(cycles: int) -> list[Scenario]:
    """The same scenarios, but small: a test that all of them work. Only the counts decide; the figures mean little."""
    often = (1.0, 1.0)
    stalled: Callable[..., Stalled] = partial(Stalled, members=200, stalled=20, rate=1000, seconds=2.0, max_outbox=8192)
    return [
        stalled("stalled", reads_nothing, pings=_SELDOM),
        stalled("dribbled", reads_a_byte, every=1.0, pings=_SELDOM),
        stalled("mute", answers_no_ping, rate=100, pings=often),
        *(
            Flooded(replace(attack, connections=max(20, attack.connections // 10)), tenants=5, size=20, seconds=1.0)
            for attack in ATTACKS.values()
        ),
        Soak(min(cycles, _MILLION // 100), clients=50, legs=4),
    ]


_NAMES = [scenario.name for scenario in _scenarios(_MILLION)]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--scenario",
    "names",
    multiple=True,
    type=click.Choice(_NAMES),
    help="Run only this scenario; may be repeated. Without it, all but soak.",
)
@click.option("--cycles", type=click.IntRange(1), default=_MILLION, help="Joins and leaves of the soak.")
@click.option("--json", "path", type=click.Path(path_type=Path), default=RESULTS / "hostile.json")
@click.option("--strict", is_flag=True, help="Also fail if a target is missed: for a quiet machine.")
@click.option("--quick", is_flag=True, help="Everything, but small, in less than a minute: a test only.")
def main(names: tuple[str, ...], cycles: int, path: Path, *, strict: bool, quick: bool) -> None:
    """Attack the service, and measure how its other peers are affected. Fails if it breaks a promise."""
    prepare_this_process()
    scenarios = _quick_scenarios(cycles) if quick else _scenarios(cycles)
    for scenario in scenarios if quick else ():
        scenario.targets = {}  # They are for the real sizes.
    scenarios = [one for one in scenarios if (one.name in names if names else not isinstance(one, Soak))]
    progress = Progress()
    played: list[tuple[Scenario, Outcome]] = []
    stopped = False
    try:
        for scenario in scenarios:
            outcome = play(scenario, partial(_note, progress, scenario.name))
            played.append((scenario, outcome))
    except KeyboardInterrupt:
        stopped = True
    finally:
        progress.end()
    print_report(Console(width=WIDTH), played)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_as_json(played, quick=quick, stopped=stopped), indent=1) + "\n")
    click.echo(f"All figures: {path}")
    broken = any(outcome.failure for _, outcome in played)
    missed = strict and any(scenario.missed(outcome) for scenario, outcome in played)
    sys.exit(stopped or broken or missed)


def _note(progress: Progress, where: str, text: str) -> None:
    progress(f"{where}: {text}")


def _as_json(played: list[tuple[Scenario, Outcome]], *, quick: bool, stopped: bool) -> dict[str, Any]:
    return {
        "machine": machine(),
        "quick": quick,
        "stopped": stopped,
        "scenarios": {
            scenario.name: {
                "title": scenario.title,
                "targets": scenario.targets,
                "missed": scenario.missed(outcome),
                **asdict(outcome),
            }
            for scenario, outcome in played
        },
    }
