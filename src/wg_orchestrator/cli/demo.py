import asyncio
from contextlib import suppress

import click

from wg_orchestrator.cli.configuration import make_server, read_settings
from wg_orchestrator.cli.failure import fail
from wg_orchestrator.client import BadMessage, JoinRefused, TryAgainLater
from wg_orchestrator.client.crowd import crowd
from wg_orchestrator.client.screen import RosterScreen
from wg_orchestrator.server.cannot_start import CannotStart
from wg_orchestrator.server.server import Server
from wg_orchestrator.telemetry.logs import configure_logging

_LONGEST_DEMO = 86_400
"""Seconds."""


@click.command()
@click.option("--peers", default=6, type=click.IntRange(0, 1000), show_default=True, help="clients that come and go")
@click.option("--seconds", type=float, help="end by itself after that time [default: at Ctrl-C]")
def demo(peers: int, seconds: float | None) -> None:
    """Run a service on a free local port, and a few peers that come and go, on one screen."""
    if seconds is not None and not 0 <= seconds <= _LONGEST_DEMO:
        raise click.BadParameter(f"not from 0 to {_LONGEST_DEMO}", param_hint="--seconds")
    configure_logging("error", "console")
    try:
        server = make_server(read_settings({"host": "127.0.0.1", "port": "0", "close_timeout": "1"}))
        with suppress(KeyboardInterrupt):
            asyncio.run(_show(server, peers, seconds))
    except (CannotStart, JoinRefused, TryAgainLater, BadMessage) as error:
        fail(str(error), 1)


async def _show(server: Server, peers: int, seconds: float | None) -> None:
    """Serve for a crowd, until the time is up, a signal ends the service, or one of the crowd fails.

    Raises CannotStart, and what `crowd` does.
    """
    serving = asyncio.create_task(server.serve())
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        ready.cancel()
        await serving
        return
    url = f"ws://{server.address}/tenants/demo"
    with RosterScreen(f"{url}   (Ctrl-C ends it)") as screen:
        playing = asyncio.create_task(crowd(url, peers, screen))
        await asyncio.wait([serving, playing], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        playing.cancel()
        await asyncio.wait([playing])
    stopped_by_hand = serving.done() or server.should_exit
    server.should_exit = True
    await serving
    failure = None if playing.cancelled() else playing.exception()
    if failure is not None and not stopped_by_hand:  # The end of the service closes all peers: that is no failure.
        raise failure
