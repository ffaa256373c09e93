"""What lets a client in: an invitation, or a token of an identity provider. Asked for anew at each connection."""

import asyncio
import os
import re
import shlex
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import anyio

TokenSource: TypeAlias = Callable[[], Awaitable[str | None]]
"""Gives a token; None: there is none. Raises NoToken."""

ENVIRONMENT = "WG_ORCHESTRATOR_INVITATION"
_LONGEST = 8192
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_PATIENCE = 30.0
"""Seconds for a command that prints a token."""


class NoToken(Exception):
    """There is no token now, and there may be one later. Says why, without any part of one."""


async def no_token() -> str | None:
    return None


def given(token: str) -> TokenSource:
    """Always this one. Raises ValueError if it is no token."""
    checked = _checked(token)

    async def give() -> str:
        return checked

    return give


def from_file(path: Path) -> TokenSource:
    """The token in this file, as it is at each connection."""

    async def read() -> str:
        try:
            with path.open("rb") as file:
                content = file.read(_LONGEST + 2)
        except OSError as error:
            raise NoToken(f"can't read the token in {path}: {error.strerror}") from error
        try:
            return _checked(content.decode(errors="replace"))
        except ValueError as error:
            raise NoToken(f"{path} has no token in it") from error

    return read


def from_command(command: str) -> TokenSource:
    """What this command prints, run anew for each connection, without a shell. Raises ValueError if it can't be one."""
    words = shlex.split(command)
    if not words:
        raise ValueError("no command")

    async def run() -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise NoToken(f"can't run {words[0]}: {error.strerror}") from error
        try:
            with anyio.fail_after(_PATIENCE):
                output = await _output(process)
                if len(output) > _LONGEST:
                    raise NoToken(f"{words[0]} prints too much")
                status = await process.wait()
        except TimeoutError as error:
            raise NoToken(f"{words[0]} has printed no token in {_PATIENCE:g} s") from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                with anyio.CancelScope(shield=True):
                    await process.communicate()  # It reads what is left, so that the pipe is closed.
        if status != 0:
            raise NoToken(f"{words[0]} has ended with status {status}")
        try:
            return _checked(output.decode(errors="replace"))
        except ValueError as error:
            raise NoToken(f"{words[0]} has printed no token") from error

    return run


def from_environment() -> TokenSource:
    """The token that the environment has, if it has one. Raises ValueError if that is none."""
    token = os.environ.get(ENVIRONMENT)
    return given(token) if token else no_token


async def _output(process: asyncio.subprocess.Process) -> bytes:
    output = b""
    while process.stdout is not None and len(output) <= _LONGEST and (part := await process.stdout.read(4096)):
        output += part
    return output


def _checked(text: str) -> str:
    """The text without white space around it. Raises ValueError unless a header may have it (RFC 6750, section 2.1)."""
    token = text.strip()
    if len(token) > _LONGEST or not _TOKEN.fullmatch(token):
        raise ValueError("no token: letters, digits and -._~+/= only")
    return token
