import hashlib
import json
import re
from pathlib import Path

from websockets.frames import Opcode

from tests.integration.bad_inputs.frames import FRAMES
from tests.integration.bad_inputs.handshakes import HANDSHAKES
from tests.integration.bad_inputs.joins import JOINS, WATCHER
from tests.integration.bad_inputs.play import play
from tests.integration.service import Client, running
from tests.integration.transcripts.listener import Listener
from tests.integration.transcripts.sessions import SESSIONS

Transcripts = dict[str, list[str]]
"""By a scenario's name: what the service sent to each of its connections, one character for each byte."""

_FILE = Path(__file__).with_name("v1.json")
_DATE = re.compile(r"\r\ndate: [^\r]+")
_LONGEST = 4096


def saved() -> Transcripts:
    transcripts: Transcripts = json.loads(_FILE.read_text())
    return transcripts


def save(transcripts: Transcripts) -> None:
    _FILE.write_text(json.dumps(transcripts, indent=1, sort_keys=True) + "\n")


async def of_bad_inputs() -> Transcripts:
    transcripts = {}
    async with running() as service:
        await Client.join(service, WATCHER)
        for case in [*HANDSHAKES, *FRAMES, *JOINS]:
            listener = await Listener.connect(service)
            await play(listener.client, case)
            # A pong may come before or after the welcome: that depends on how the service reads the client's bytes.
            transcripts[str(case)] = [_written(_without_pongs(listener.heard))]
    return transcripts


async def of_sessions() -> Transcripts:
    return {name: [_written(listener.heard) for listener in await session()] for name, session in SESSIONS.items()}


async def record() -> Transcripts:
    return {**await of_bad_inputs(), **await of_sessions()}


def _written(heard: bytes) -> str:
    """`heard` as it is recorded: without the date of a plain HTTP response; only its size and hash if it is long."""
    if len(heard) > _LONGEST:
        return f"{len(heard)} bytes, SHA-256 {hashlib.sha256(heard).hexdigest()}"
    return _DATE.sub("", heard.decode("latin-1"))


def _without_pongs(heard: bytes) -> bytes:
    head, end, rest = heard.partition(b"\r\n\r\n")
    kept = head + end
    if not head.startswith(b"HTTP/1.1 101"):
        return heard
    while rest:
        size = 2 + rest[1] if rest[1] < 126 else 4 + int.from_bytes(rest[2:4], "big")
        kept += b"" if rest[0] == 0x80 | Opcode.PONG else rest[:size]
        rest = rest[size:]
    return kept
