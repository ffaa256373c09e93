"""What `join` does."""

import asyncio
import sys
from contextlib import aclosing, nullcontext

import click

from wg_orchestrator.cli.failure import fail
from wg_orchestrator.client import (
    BadMessage,
    JoinRefused,
    KeyPair,
    Limits,
    Member,
    Message,
    Roster,
    TryAgainLater,
    keep_following,
)
from wg_orchestrator.client.screen import RosterScreen, Screen
from wg_orchestrator.client.story import Story
from wg_orchestrator.client.story import as_json as story_line
from wg_orchestrator.client.terminal import visible
from wg_orchestrator.client.tokens import TokenSource
from wg_orchestrator.wire.v1 import as_text


def show_tenant(
    url: str,
    name: str,
    public_key: str | None,
    protocol: str,
    as_json: bool,
    limits: Limits | None,
    token: TokenSource,
) -> None:
    """Show who is in the tenant, until Ctrl-C. `token` says what lets this client in. `limits` are the client's own if
    they are None.
    """
    limits = limits or Limits()
    if public_key is None:
        pair = KeyPair.generate()
        public_key = pair.public
        click.echo(f"private key {pair.private}\npublic key  {pair.public}", err=True)
    try:
        if protocol == "v2":
            _show_v2(Member(url, name, public_key, token=token, limits=limits), url, as_json)
        elif as_json:
            asyncio.run(keep_following(url, name, public_key, _print_line, _print_note, limits, token))
        else:
            with RosterScreen(url, roster=Roster(limits.max_peers)) as screen:
                asyncio.run(keep_following(url, name, public_key, screen.show, screen.note, limits, token))
    except KeyboardInterrupt:
        pass
    except (JoinRefused, TryAgainLater, BadMessage) as error:
        fail(str(error), 1)
    except BrokenPipeError:
        raise  # click ends without a word.
    except OSError as error:
        fail(f"can't write: {error.strerror}", 1)


def _show_v2(member: Member, url: str, as_json: bool) -> None:
    with Screen(url, member.picture.peers_now) if not as_json else nullcontext() as screen:
        asyncio.run(_follow(member, screen))


async def _follow(member: Member, screen: Screen | None) -> None:
    story = Story()
    async with aclosing(member.follow()) as events:
        async for event in events:
            if screen is not None:
                story.tell(event, screen)
            else:
                click.echo(story_line(event))
                sys.stdout.flush()


def _print_line(message: Message) -> None:
    click.echo(as_text(message))
    sys.stdout.flush()


def _print_note(note: str) -> None:
    click.echo(visible(note), err=True)
