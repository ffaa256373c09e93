"""What `join` does."""

import asyncio
import sys

import click

from wg_orchestrator.cli.failure import fail
from wg_orchestrator.client import (
    BadMessage,
    JoinRefused,
    KeyPair,
    Limits,
    Message,
    Roster,
    TryAgainLater,
    keep_following,
)
from wg_orchestrator.client.screen import RosterScreen
from wg_orchestrator.client.terminal import visible
from wg_orchestrator.wire.v1 import as_text


def show_tenant(url: str, name: str, public_key: str | None, as_json: bool, limits: Limits | None) -> None:
    """Show who is in the tenant, until Ctrl-C. `limits` are the client's own if they are None."""
    limits = limits or Limits()
    if public_key is None:
        pair = KeyPair.generate()
        public_key = pair.public
        click.echo(f"private key {pair.private}\npublic key  {pair.public}", err=True)
    try:
        if as_json:
            asyncio.run(keep_following(url, name, public_key, _print_line, _print_note, limits))
        else:
            with RosterScreen(url, roster=Roster(limits.max_peers)) as screen:
                asyncio.run(keep_following(url, name, public_key, screen.show, screen.note, limits))
    except KeyboardInterrupt:
        pass
    except (JoinRefused, TryAgainLater, BadMessage) as error:
        fail(str(error), 1)
    except BrokenPipeError:
        raise  # click ends without a word.
    except OSError as error:
        fail(f"can't write: {error.strerror}", 1)


def _print_line(message: Message) -> None:
    click.echo(as_text(message))
    sys.stdout.flush()


def _print_note(note: str) -> None:
    click.echo(visible(note), err=True)
