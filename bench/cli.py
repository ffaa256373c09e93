import json
import sys
from pathlib import Path

import click
from rich.console import Console

from bench.contenders import BESIDE, CONTENDERS, WATCHED, WITH_HISTORY
from bench.errors import BrokenPromise
from bench.long_workloads import Growth, Idle
from bench.node_workloads import NodesAdmissions, NodesQuiet
from bench.outages import Restart, RollingRestart
from bench.plot import plot_growth
from bench.progress import Progress
from bench.report import WIDTH, print_report
from bench.results import RESULTS
from bench.run import measure
from bench.server import Server, prepare_this_process
from bench.two_tenants import TwoTenants
from bench.workloads import Admissions, Quiet, Return, Storm, Workload


def _workloads(hold: float) -> list[Workload]:
    return [
        Storm(),
        Quiet(),
        Admissions(),
        Return(),
        Growth(),
        Idle(hold=hold),
        TwoTenants(),
        NodesAdmissions(),
        NodesQuiet(),
        Restart(),
        RollingRestart(),
    ]


def _quick_workloads() -> list[Workload]:
    """The same workloads, but small: a test that all of them work. The figures mean little."""
    return [
        Storm(members=100, clients=16, seconds=0.3),
        Quiet(members=100, rounds=10),
        Admissions(tenants=20, size=10),
        Return(tenants=10, size=20, at_once=50),
        Growth(sizes=(20, 100), clients=4, seconds=0.2),
        Idle(tenants=10, size=30, hold=0.5),
        TwoTenants(members=300, few=5, clients=4, rounds=5),
        NodesAdmissions(tenants=20, size=10),
        NodesQuiet(members=20, rounds=10),
        Restart(tenants=5, size=20),
        RollingRestart(tenants=5, size=20, rounds=4, settle=0.2),
    ]


def _is_meant(server: str, servers: tuple[str, ...], beside: Path | None) -> bool:
    if server == BESIDE:
        return beside is not None
    return server in servers if servers else server not in (WATCHED, WITH_HISTORY)


_NAMES = tuple(workload.name for workload in _workloads(0.0))


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--workload", "names", multiple=True, type=click.Choice(_NAMES), help="Run only this workload; may be repeated."
)
@click.option(
    "--server",
    "servers",
    multiple=True,
    type=click.Choice(list(CONTENDERS)),
    help="Measure only this server; may be repeated.",
)
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="Another checkout, for example of an earlier commit. It is measured in turn with this one, as `ours-beside`.",
)
@click.option("--repeat", "repeats", type=click.IntRange(1), default=5, help="Repeats; each figure is their median.")
@click.option("--hold", type=float, default=60.0, help="Seconds for which idle peers stay.")
@click.option("--budget", type=float, default=180.0, help="Seconds a server may take until it is full.")
@click.option("--json", "path", type=click.Path(path_type=Path), default=RESULTS / "results.json")
@click.option("--plot", type=click.Path(path_type=Path), default=RESULTS / "growth.svg", help="Chart of growth.")
@click.option("--quick", is_flag=True, help="Everything, but small and once, in about a minute: a test only.")
def main(
    names: tuple[str, ...],
    servers: tuple[str, ...],
    beside: Path | None,
    repeats: int,
    hold: float,
    budget: float,
    path: Path,
    plot: Path,
    quick: bool,
) -> None:
    """Measure the service and other servers that do the same job. Fails if a server breaks a promise."""
    prepare_this_process()
    Server.beside = beside
    workloads = _quick_workloads() if quick else _workloads(hold)
    workloads = [workload for workload in workloads if not names or workload.name in names]
    progress = Progress()
    try:
        results = measure(
            workloads,
            [server for server in CONTENDERS if _is_meant(server, servers, beside)],
            1 if quick else repeats,
            budget,
            quick=quick,
            note=progress,
        )
    except BrokenPromise as fault:
        raise click.ClickException(str(fault)) from fault
    finally:
        progress.end()
    print_report(Console(width=WIDTH), results, targets=not quick)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results.as_json(), indent=1) + "\n")
    click.echo(f"All figures: {path}")
    for workload in workloads:
        if isinstance(workload, Growth) and workload.name in results.outcomes:
            plot.parent.mkdir(parents=True, exist_ok=True)
            plot_growth(results, workload, plot)
            click.echo(f"Cost against members: {plot}")
    sys.exit(results.stopped or any(results.failures))
