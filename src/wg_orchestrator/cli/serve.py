import asyncio
import gc
import resource
import sys
from contextlib import suppress

import click

from wg_orchestrator.cli.configuration import make_server, read_settings, settings_options
from wg_orchestrator.cli.failure import fail
from wg_orchestrator.server.cannot_start import CannotStart
from wg_orchestrator.server.workers import (
    SERVING,
    WorkerCannotStart,
    end_with_supervisor,
    port_held,
    supervise,
    tell_supervisor,
)
from wg_orchestrator.settings import Settings
from wg_orchestrator.telemetry.logs import configure_logging


@click.command()
@settings_options
@click.option("--worker", is_flag=True, hidden=True)
def serve(worker: bool, **options: str | None) -> None:
    """Run the service until Ctrl-C or SIGTERM.

    Each option can also be set as WG_ORCHESTRATOR_<OPTION> in the environment or in a file `.env`.
    """
    given = {name: value for name, value in options.items() if value is not None}
    settings = read_settings(given)
    configure_logging(settings.log_level, settings.log_format)
    if settings.workers > 1 and not worker:
        _supervise(settings, given)
        return
    # Each peer needs an open file. Many systems have a soft limit of 1,024.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if worker:
        end_with_supervisor(settings.shutdown_delay + settings.shutdown_timeout)
    try:
        _serve(settings, worker)
    except CannotStart as error:
        if not worker:
            fail(str(error), 1)
        tell_supervisor(str(error))
        raise SystemExit(1) from error


def _serve(settings: Settings, worker: bool) -> None:
    """Raises CannotStart."""
    server = make_server(settings, shares_port=worker, on_serving=_tell_serving if worker else lambda: None)
    # What is allocated by now stays for good. Later objects are freed by reference counting, but for a few cycles a
    # connection. So the garbage collector runs seldom, which saves a fifth of the cost of a join.
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    with suppress(KeyboardInterrupt):  # uvicorn stops in order, and then raises the signal again.
        server.run()


def _supervise(settings: Settings, given: dict[str, str]) -> None:
    try:
        with port_held(settings.host, settings.port) as port:
            given = {**given, "port": str(port)}
            asyncio.run(supervise([_worker(settings, given, number) for number in range(settings.workers)]))
    except OSError as error:
        fail(f"can't listen on {settings.host} port {settings.port}: {error.strerror}", 1)
    except WorkerCannotStart as error:
        fail(str(error), error.status if error.status > 0 else 1)


def _worker(settings: Settings, given: dict[str, str], number: int) -> list[str]:
    """The command of one of the workers. Each has its own name, and metrics and a rendezvous on its own ports."""
    if settings.metrics_port:
        given = {**given, "metrics_port": str(settings.metrics_port + number)}
    if settings.admin_port:
        given = {**given, "admin_port": str(settings.admin_port + number)}
    if settings.rendezvous_port:
        given = {**given, "rendezvous_port": str(settings.rendezvous_port + number)}
    if settings.node_name:
        given = {**given, "node_name": f"{settings.node_name}-{number}"}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    return [sys.executable, "-m", "wg_orchestrator", "serve", "--worker", *options]


def _tell_serving() -> None:
    tell_supervisor(SERVING)
