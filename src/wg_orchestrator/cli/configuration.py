"""What `serve` and `demo` have in common: the settings, as options and as values, and a server by them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from wg_orchestrator.cli.failure import fail
from wg_orchestrator.container import Container
from wg_orchestrator.server.cannot_start import CannotStart
from wg_orchestrator.server.server import Server
from wg_orchestrator.settings import Settings
from wg_orchestrator.settings.unusable import Unusable

Command = TypeVar("Command", bound=Callable[..., Any])

_LONGEST_TEXT = 200
"""Characters of what was given that an error repeats."""
_SHORT = {"nats_url": ("--nats",)}


def settings_options(command: Command) -> Command:
    """An option for each setting, so that the environment and the command line never differ in what they can say."""
    for name, field in reversed(Settings.model_fields.items()):
        default = "none" if field.default is None or field.default in ((), frozenset()) else field.default
        option = click.option(
            f"--{name.replace('_', '-')}",
            *_SHORT.get(name, ()),
            name,
            is_flag=field.annotation is bool,
            default=None,
            help=f"{field.description} [default: {default}]",
        )
        command = option(command)
    return command


def read_settings(options: dict[str, str]) -> Settings:
    """Ends the command, with one line about each fault."""
    try:
        return Settings(**options)  # type: ignore[arg-type]
    except ValidationError as invalid:
        fail("; ".join(map(_fault, invalid.errors())), 2)
    except UnicodeDecodeError:
        fail("can't read .env: it is not UTF-8", 2)
    except OSError as error:
        fail(f"can't read .env: {error.strerror}", 2)


def _fault(error: ErrorDetails) -> str:
    what = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return what
    name, given = error["loc"][0], repr(error["input"])
    # A URL may have a password in it.
    return f"{name}: {what}" if name in ("nats_url", "oidc_issuer") else f"{name}: {_cut(what)} (given: {_cut(given)})"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def make_server(settings: Settings, **options: Any) -> Server:
    """Raises CannotStart."""
    try:
        return Server(Container(settings=settings), **options)
    except ModuleNotFoundError as error:
        if settings.store != "nats":
            raise
        raise CannotStart(f"there is no module {error.name}: install the extra nats") from error
    except Unusable as error:
        raise CannotStart(str(error)) from error
