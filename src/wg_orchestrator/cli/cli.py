import asyncio
import gc
import io
import json
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any, NoReturn, TypeVar

import click
from dependency_injector import providers
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from wg_orchestrator import __version__
from wg_orchestrator.cli.demo_crowd import run_demo
from wg_orchestrator.client.client import BadMessage, JoinRefused, KeyPair, Message, TryAgainLater, follow, retry_delays
from wg_orchestrator.client.screen import RosterScreen
from wg_orchestrator.client.terminal import visible
from wg_orchestrator.container import Container
from wg_orchestrator.server.cannot_start import CannotStart
from wg_orchestrator.server.server import Server
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

Command = TypeVar("Command", bound=Callable[..., Any])

_LONGEST_TEXT = 200
"""Characters of what was given that an error repeats."""
_LONGEST_DEMO = 86_400
"""Seconds."""
_SHORT = {"nats_url": ("--nats",)}


def settings_options(command: Command) -> Command:
    """An option for each setting, so that the environment and the command line never differ in what they can say."""
    for name, field in reversed(Settings.model_fields.items()):
        default = "none" if field.default is None or field.default in ((), frozenset()) else field.default
        option = click.option(
            f"--{name.replace('_', '-')}",
            *_SHORT.get(name, ()),
            name,
            default=None,
            help=f"{field.description} [default: {default}]",
        )
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wg-orchestrator")
def main() -> None:
    """The control plane of a WireGuard network: who is in it, at which virtual IP."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # What others are called may not be in the terminal's encoding.
        sys.stdout.reconfigure(errors="backslashreplace")


@main.command()
@settings_options
@click.option("--worker", is_flag=True, hidden=True)
def serve(worker: bool, **options: str | None) -> None:
    """Run the service until Ctrl-C or SIGTERM.

    Each option can also be set as WG_ORCHESTRATOR_<OPTION> in the environment or in a file `.env`.
    """
    given = {name: value for name, value in options.items() if value is not None}
    settings = _settings(given)
    configure_logging(settings.log_level, settings.log_format)
    if settings.workers > 1 and not worker:
        _supervise(settings, given)
        return
    # A soft limit of 1,024 files, as many systems have it, is one of as many peers.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if worker:
        end_with_supervisor(settings.shutdown_delay + settings.shutdown_timeout)
    try:
        _serve(settings, worker)
    except CannotStart as error:
        if not worker:
            _fail(str(error), 1)
        tell_supervisor(str(error))
        raise SystemExit(1) from error


def _serve(settings: Settings, worker: bool) -> None:
    """Raises CannotStart."""
    server = _server(settings, shares_port=worker, on_serving=_tell_serving if worker else lambda: None)
    # What is allocated by now stays, and what comes is freed by counting but for a few cycles a connection:
    # collecting seldom saves a fifth of the cost of a join.
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    with suppress(KeyboardInterrupt):  # uvicorn ends in good order, and then raises the signal again.
        server.run()


@main.command()
@click.argument("url")
@click.option("--name", default=socket.gethostname, help="display name [default: this machine's name]")
@click.option("--public-key", help="WireGuard public key [default: that of a new pair, shown with its private key]")
@click.option("--json", "as_json", is_flag=True, help="print the service's messages, one line of JSON each")
def join(url: str, name: str, public_key: str | None, as_json: bool) -> None:
    """Join the tenant at URL (ws://host:port/tenants/ID) and show who is in it, until Ctrl-C."""
    if public_key is None:
        pair = KeyPair.generate()
        public_key = pair.public
        click.echo(f"private key {pair.private}\npublic key  {pair.public}", err=True)
    try:
        if as_json:
            asyncio.run(_join(url, name, public_key, _print_line, lambda note: click.echo(visible(note), err=True)))
        else:
            with RosterScreen(url) as screen:
                asyncio.run(_join(url, name, public_key, screen.show, screen.note))
    except KeyboardInterrupt:
        pass
    except (JoinRefused, TryAgainLater, BadMessage) as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        raise  # click ends without a word.
    except OSError as error:
        _fail(f"can't write: {error.strerror}", 1)


@main.command()
@click.option("--peers", default=6, type=click.IntRange(0, 1000), show_default=True, help="clients that come and go")
@click.option("--seconds", type=float, help="end by itself after that time [default: at Ctrl-C]")
def demo(peers: int, seconds: float | None) -> None:
    """Run a service on a free local port, and a few peers that come and go, on one screen."""
    if seconds is not None and not 0 <= seconds <= _LONGEST_DEMO:
        raise click.BadParameter(f"not from 0 to {_LONGEST_DEMO}", param_hint="--seconds")
    configure_logging("error", "console")
    try:
        server = _server(_settings({"host": "127.0.0.1", "port": "0", "close_timeout": "1"}))
        asyncio.run(run_demo(server, peers, seconds))
    except KeyboardInterrupt:
        pass
    except (CannotStart, JoinRefused, TryAgainLater, BadMessage) as error:
        _fail(str(error), 1)


async def _join(
    url: str, name: str, public_key: str, show: Callable[[Message], None], note: Callable[[str], None]
) -> None:
    """Follow the tenant, over as many connections as it takes once the first one has worked."""
    joined = False
    delays = retry_delays()
    while True:
        try:
            async with aclosing(follow(url, name, public_key)) as messages:
                async for message in messages:
                    show(message)
                    if "peers" in message:  # Welcomed: what failed before is over.
                        joined, delays = True, retry_delays()
        except TryAgainLater as error:
            if not joined:
                raise
            delay = next(delays)
            note(f"{error}; trying again in {delay:.1f} s")
            await asyncio.sleep(delay)


def _print_line(message: Message) -> None:
    # In ASCII, so that nothing in it can control a terminal.
    click.echo(json.dumps(message, separators=(",", ":")))
    sys.stdout.flush()


def _settings(options: dict[str, str]) -> Settings:
    try:
        return Settings(**options)  # type: ignore[arg-type]
    except ValidationError as invalid:
        _fail("; ".join(map(_fault, invalid.errors())), 2)
    except UnicodeDecodeError:
        _fail("can't read .env: it is not UTF-8", 2)
    except OSError as error:
        _fail(f"can't read .env: {error.strerror}", 2)


def _fault(error: ErrorDetails) -> str:
    what = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return what
    name, given = error["loc"][0], repr(error["input"])
    # A URL of NATS may have a password in it.
    return f"{name}: {what}" if name == "nats_url" else f"{name}: {_cut(what)} (given: {_cut(given)})"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def _supervise(settings: Settings, given: dict[str, str]) -> None:
    try:
        with port_held(settings.host, settings.port) as port:
            given = {**given, "port": str(port)}
            asyncio.run(supervise([_worker(settings, given, number) for number in range(settings.workers)]))
    except OSError as error:
        _fail(f"can't listen on {settings.host} port {settings.port}: {error.strerror}", 1)
    except WorkerCannotStart as error:
        _fail(str(error), error.status if error.status > 0 else 1)


def _worker(settings: Settings, given: dict[str, str], number: int) -> list[str]:
    """The command of one of the workers. Metrics are each one's own, on a port of its own."""
    if settings.metrics_port:
        given = {**given, "metrics_port": str(settings.metrics_port + number)}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    return [sys.executable, "-m", "wg_orchestrator", "serve", "--worker", *options]


def _server(settings: Settings, **options: Any) -> Server:
    """Raises CannotStart."""
    try:
        return Server(Container(settings=providers.Object(settings)), **options)
    except ModuleNotFoundError as error:
        if settings.store != "nats":
            raise
        raise CannotStart(f"there is no module {error.name}: install the extra nats") from error


def _tell_serving() -> None:
    tell_supervisor(SERVING)


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"wg-orchestrator: {visible(message)}", err=True)
    raise SystemExit(status)
