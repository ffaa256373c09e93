"""What the commands of the agent do."""

import asyncio
import json
from collections.abc import Coroutine
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wg_orchestrator.agent.control import ask, ended
from wg_orchestrator.agent.errors import EnvironmentFault, NotRunning
from wg_orchestrator.agent.setup import Setup
from wg_orchestrator.agent.start import Place, remove_left, run
from wg_orchestrator.agent.state_dir import StateDir
from wg_orchestrator.cli.failure import fail
from wg_orchestrator.client.connecting import JoinRefused
from wg_orchestrator.client.terminal import visible

T = TypeVar("T")


def be_up(place: Place, setup: Setup) -> None:
    """Run the agent in the foreground."""
    _run(run(place, setup, lambda line: click.echo(visible(line), err=True)), setup.interface)


def show_status(interface: str, state_dir: Path, as_json: bool) -> None:
    """Print what the agent says of itself."""
    status = _run(ask(StateDir(state_dir, interface).socket, "status"), interface)
    if as_json:
        click.echo(json.dumps(status))
        return
    where = f"{status['virtual_ip']} in {status['network']}" if status["virtual_ip"] else "no address yet"
    click.echo(f"{interface}: {where}, {'connected' if status['connected'] else 'not connected'}")
    _print_table(
        ["virtual IP", "name", "path", "endpoint", "received", "sent"],
        [
            [
                peer["virtual_ip"],
                peer["display_name"],
                peer["reason"] or peer["path"],
                peer["endpoint"] or "",
                f"{peer['rx_bytes']:,}",
                f"{peer['tx_bytes']:,}",
            ]
            for peer in status["peers"]
        ],
    )


def take_down(interface: str, state_dir: Path) -> None:
    """Have the agent end; or remove the interface that one has left."""
    socket = StateDir(state_dir, interface).socket

    async def end() -> None:
        try:
            await ask(socket, "down")
        except NotRunning:
            if not await remove_left(interface):
                raise
        else:
            await ended(socket)

    _run(end(), interface)


def ping_peers(interface: str, state_dir: Path, as_json: bool) -> None:
    """Ping all peers, and print who has answered."""
    from wg_orchestrator.agent.icmp import echo

    async def ping() -> list[dict[str, Any]]:
        peers = (await ask(StateDir(state_dir, interface).socket, "status"))["peers"]
        answers = await echo(ip_address(peer["virtual_ip"]) for peer in peers)
        return [_answer(peer, answers[ip_address(peer["virtual_ip"])]) for peer in peers]

    answers = _run(ping(), interface)
    if as_json:
        click.echo(json.dumps(answers))
    else:
        rows = [
            [one["virtual_ip"], one["display_name"], f"{one['seconds'] * 1000:.2f} ms" if one["answered"] else "silent"]
            for one in answers
        ]
        _print_table(["virtual IP", "name", "answer"], rows)
    if not all(one["answered"] for one in answers):
        raise SystemExit(1)


def _answer(peer: dict[str, Any], seconds: float | None) -> dict[str, Any]:
    return {
        "display_name": peer["display_name"],
        "public_key": peer["public_key"],
        "virtual_ip": peer["virtual_ip"],
        "answered": seconds is not None,
        "seconds": None if seconds is None else round(seconds, 6),
    }


def _print_table(columns: list[str], rows: list[list[str]]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(visible(text)) for text in row))
    if rows:
        Console().print(table)


def _run(work: Coroutine[Any, Any, T], interface: str) -> T:
    try:
        return asyncio.run(work)
    except EnvironmentFault as error:
        fail(str(error), 1)
    except JoinRefused as error:
        fail(f"refused: {error}", 3)
    except NotRunning:
        fail(f"no agent runs for {interface}", 4)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("pyroute2"):
            raise
        fail("there is no module pyroute2: install the extra agent", 1)
